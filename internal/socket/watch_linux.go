package socket

import (
	"context"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watch has ready called whenever a file that never blocks becomes readable, until
// ctx ends: by the goroutine that tells connections, in turn with them. So who
// calls it finds out how long those wait. As what TellRead is given, ready must not
// block and must not close a connection.
func (n *Network) Watch(ctx context.Context, fd int, ready func()) error {
	l, err := n.join()
	if err != nil {
		return err
	}
	defer n.leave()
	w := &watch{ready: ready}
	if err := l.add(fd, w); err != nil {
		return err
	}
	<-ctx.Done()
	w.end()
	l.remove(fd, w)
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.fd, unix.EPOLL_CTL_DEL, fd, nil))
}

// watch is a file that is watched beside the connections.
type watch struct {
	// mu guards ready. It is held across the call, against the rule of the house,
	// because that is what keeps it from coming when its file may be closed.
	mu    sync.Mutex
	ready func() // nil: it is over
}

func (w *watch) happened(events uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if events&unix.EPOLLIN != 0 && w.ready != nil {
		w.ready()
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = nil
}
