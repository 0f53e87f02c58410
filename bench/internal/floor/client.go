package floor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// connectsAtOnce is how many devices connect at a time, as many as in the runs
// of muster that they are compared with.
const connectsAtOnce = 500

// DialFunc opens a connection to a Server.
type DialFunc func(ctx context.Context) (io.ReadWriteCloser, error)

// Client is devices that answer every method request. answering joins the
// goroutine of each connection; Close ends them.
type Client struct {
	exchange  *Exchange
	answering sync.WaitGroup
	conns     []io.ReadWriteCloser
}

// Connect brings so many devices online and returns how long that took.
func Connect(ctx context.Context, e *Exchange, dial DialFunc, devices int) (*Client, time.Duration, error) {
	c := &Client{exchange: e, conns: make([]io.ReadWriteCloser, devices)}
	connecting, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	next := make(chan int)
	for range min(connectsAtOnce, devices) {
		connecting.Go(func() error { return c.connect(ctx, dial, next) })
	}
	connecting.Go(func() error {
		defer close(next)
		for i := range devices {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	err := connecting.Wait()
	took := time.Since(began)
	if err != nil {
		c.Close()
		return nil, 0, fmt.Errorf("connect the devices: %w", err)
	}
	return c, took, nil
}

// connect brings devices online, one after the other. What it needs of the
// stack, and for connecting, the goroutines that answer do not hold.
func (c *Client) connect(ctx context.Context, dial DialFunc, next <-chan int) error {
	b := make([]byte, 0, len(c.exchange.Hello[0]))
	for i := range next {
		conn, err := dial(ctx)
		if err != nil {
			return err
		}
		c.conns[i] = conn
		if err := c.greet(conn, c.exchange.Connect(b, i)); err != nil {
			return err
		}
		c.answering.Go(func() { c.answer(conn) })
	}
	return nil
}

// greet comes online as muster's devices do, each step after the answer to the
// one before.
func (c *Client) greet(conn io.ReadWriter, connect []byte) error {
	var b [bufferSize]byte
	for i, hello := range c.exchange.Hello {
		if i == 0 {
			hello = connect
		}
		if _, err := conn.Write(hello); err != nil {
			return err
		}
		want := c.exchange.Welcome[i]
		if _, err := io.ReadFull(conn, b[:len(want)]); err != nil {
			return err
		}
		if !bytes.Equal(b[:len(want)], want) {
			return fmt.Errorf("the server says %q, want %q", b[:len(want)], want)
		}
	}
	return nil
}

// answer answers requests until the connection is over. If that is before its
// time the server finds out.
func (c *Client) answer(conn io.ReadWriteCloser) {
	defer conn.Close()
	b := make([]byte, 2*bufferSize)
	request, answer := b[:0:bufferSize], b[bufferSize:bufferSize]
	for {
		n, err := conn.Read(request[len(request):cap(request)])
		if err != nil {
			return
		}
		request = request[:len(request)+n]
		if !whole(request) {
			continue
		}
		if _, err := conn.Write(c.exchange.Answer(answer, request)); err != nil {
			return
		}
		request = request[:0]
	}
}

// Close ends all connections.
func (c *Client) Close() {
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close() // the server may have closed it
		}
	}
	c.answering.Wait()
}
