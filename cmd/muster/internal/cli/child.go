package cli

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childStopTimeout is how long a child has to end by itself.
const childStopTimeout = 5 * time.Second

// child is this binary as a process of its own: own descriptors, own garbage
// collector, own account of CPU. It ends when its standard input does, so it
// outlives neither this process's interrupt, nor its crash, nor its kill.
// waiting has the one goroutine that waits for it; done is closed by it.
type child struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *os.File // what the child wrote can be read after its end, until stop closes it
	waiting sync.WaitGroup
	done    chan struct{}
	err     error // how it ended; read after done
	once    sync.Once
}

// startProcess starts this binary with arguments. What it logs goes to stderr.
func startProcess(args []string, stderr io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = withoutVariables(withoutVariables(os.Environ(), "MUSTER_"), "IOTHUB_") // a child has no use for what is secret
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is for the run, which then ends its children
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, written, err := os.Pipe() // not StdoutPipe, which Wait closes with what nobody has read yet
	if err != nil {
		_ = stdin.Close() // nothing has used it
		return nil, err
	}
	cmd.Stdout = written
	err = cmd.Start()
	_ = written.Close() // the child has its own
	if err != nil {
		_ = stdout.Close() // nothing has used it
		return nil, err
	}
	c := &child{cmd: cmd, stdin: stdin, stdout: stdout, done: make(chan struct{})}
	c.waiting.Go(func() {
		c.err = cmd.Wait()
		close(c.done)
	})
	return c, nil
}

// stop ends the child and waits for it: end of file first, then a kill. Whoever
// reads what it wrote ends too, also if the process has handed that on.
func (c *child) stop() error {
	defer c.stdout.Close()
	c.once.Do(func() { _ = c.stdin.Close() }) // fails only if the child is gone
	timer := time.NewTimer(childStopTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		_ = c.cmd.Process.Kill() // fails only if the child is gone
	}
	c.waiting.Wait()
	return c.err
}

func withoutVariables(environ []string, prefix string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, prefix) {
			kept = append(kept, v)
		}
	}
	return kept
}
