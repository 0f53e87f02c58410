package floor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"muster/iothub"
)

const (
	pahoTimeout = 30 * time.Second
	pahoQuiesce = 0 // milliseconds: nothing is under way when they end
)

// PahoClient is devices of the paho client and nothing else, with its own
// settings where they do not matter.
type PahoClient struct {
	mu      sync.Mutex // guards clients
	clients []mqtt.Client
}

// ConnectPaho brings so many devices online, with the exchange of Connect, and
// returns how long that took.
func ConnectPaho(ctx context.Context, dial func(context.Context) (net.Conn, error), devices int) (*PahoClient, time.Duration, error) {
	c := &PahoClient{}
	connecting, ctx := errgroup.WithContext(ctx)
	connecting.SetLimit(connectsAtOnce)
	began := time.Now()
	for i := range devices {
		if ctx.Err() != nil {
			break
		}
		connecting.Go(func() error { return c.connect(ctx, dial, deviceID(i)) })
	}
	err := connecting.Wait()
	took := time.Since(began)
	if err == nil {
		err = context.Cause(ctx)
	}
	if len(c.clients) < devices {
		c.Close()
		return nil, 0, fmt.Errorf("connect the devices: %w", err)
	}
	return c, took, nil
}

func (c *PahoClient) connect(ctx context.Context, dial func(context.Context) (net.Conn, error), id string) error {
	twin := make(chan struct{}, 1) // one answer, so that paho does not wait
	o := mqtt.NewClientOptions().AddBroker("tcp://hub").SetClientID(id).SetUsername(iothub.Username(hostName, id))
	o.SetPassword(token()).SetProtocolVersion(4).SetKeepAlive(0).SetAutoReconnect(false).SetConnectTimeout(pahoTimeout)
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return dial(ctx) })
	o.SetDefaultPublishHandler(func(client mqtt.Client, m mqtt.Message) {
		_, rid, ok := strings.Cut(m.Topic(), method+"/?$rid=")
		if !ok {
			twin <- struct{}{}
			return
		}
		client.Publish(iothub.MethodResponseTopic(200, rid), 0, false, response)
	})
	client := mqtt.NewClient(o)
	steps := []func() mqtt.Token{
		client.Connect,
		func() mqtt.Token {
			return client.SubscribeMultiple(map[string]byte{iothub.FilterMethods: 0, iothub.FilterTwinResponses: 0, iothub.FilterDesired: 0}, nil)
		},
		func() mqtt.Token { return client.Publish(iothub.TwinGetTopic("1"), 0, false, "") },
	}
	for _, step := range steps {
		token := step()
		if !token.WaitTimeout(pahoTimeout) {
			return fmt.Errorf("%s: no answer in %v", id, pahoTimeout)
		}
		if err := token.Error(); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	c.mu.Lock()
	c.clients = append(c.clients, client)
	c.mu.Unlock()
	select {
	case <-twin:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends all connections.
func (c *PahoClient) Close() {
	for _, client := range c.clients {
		client.Disconnect(pahoQuiesce)
	}
}
