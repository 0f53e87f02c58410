package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"muster/internal/mqtt"
	"muster/iothub"
)

// hubProcess is a muster hub in a process of its own.
type hubProcess struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // read after it ended
	MQTT   string       `json:"mqtt"`
	HTTP   string       `json:"http"`
	CS     string       `json:"connectionString"`
}

// startHub starts a hub that keeps everything in a folder, and waits until it is ready. It is this test binary under another name.
// limit is how many KB its files may have, 0 for any number.
func startHub(t *testing.T, dir string, limit int, args ...string) *hubProcess {
	t.Helper()
	args = append([]string{"hub", "--json", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", dir}, args...)
	h := &hubProcess{cmd: exec.Command("muster", args...)}
	if limit > 0 {
		h.cmd = exec.Command("bash", append([]string{"-c", `ulimit -f "$0" && exec muster "$@"`, strconv.Itoa(limit)}, args...)...)
	}
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, h)
	}
	if err != nil {
		h.kill()
		t.Fatalf("the hub is not ready: %v\n%s", err, h.stderr.String())
	}
	return h
}

// kill ends the process as kill -9 does.
func (h *hubProcess) kill() {
	_ = h.cmd.Process.Kill() // fails only if it is gone
	_ = h.cmd.Wait()
}

// client returns a service client that retries nothing.
func (h *hubProcess) client(t *testing.T) *iothub.Client {
	t.Helper()
	cs, err := iothub.ParseConnectionString(h.CS)
	if err != nil {
		t.Fatal(err)
	}
	c, err := iothub.NewClient(cs, &iothub.ClientOptions{BaseURL: "http://" + h.HTTP, Retry: iothub.RetryOptions{MaxAttempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// wire is a device's connection.
type wire struct {
	conn net.Conn
	rd   *mqtt.Reader
}

// dialWire connects a device with a persistent session, and subscribes where there was none.
func dialWire(h *hubProcess, id string, key iothub.Key, filters ...string) (*wire, error) {
	conn, err := net.Dial("tcp", h.MQTT)
	if err != nil {
		return nil, err
	}
	w := &wire{conn, mqtt.NewReader(conn, 1<<16)}
	token := iothub.NewToken(iothub.DeviceResource("localhost", id), key, "", time.Now().Add(time.Hour))
	packet, err := mqtt.AppendConnect(nil, mqtt.Connect{
		ClientID: []byte(id), HasUsername: true, Username: []byte(iothub.Username("localhost", id)), HasPassword: true, Password: []byte(token),
	})
	if err == nil {
		err = w.begin(packet, filters)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) begin(connect []byte, filters []string) error {
	if _, err := w.conn.Write(connect); err != nil {
		return err
	}
	body, err := w.expect(mqtt.TypeConnack)
	if err != nil {
		return err
	}
	ack, err := mqtt.ParseConnack(body)
	if err != nil || ack.Code != mqtt.Accepted {
		return fmt.Errorf("CONNACK %d: %w", ack.Code, err)
	}
	if ack.SessionPresent {
		return nil
	}
	for i, f := range filters {
		packet, err := mqtt.AppendSubscribe(nil, uint16(i+1), mqtt.Filter{Topic: []byte(f)})
		if err == nil {
			_, err = w.conn.Write(packet)
		}
		if err == nil {
			_, err = w.expect(mqtt.TypeSuback)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) expect(want mqtt.Type) ([]byte, error) {
	h, body, err := w.rd.Next()
	if err == nil && h.Type != want {
		err = fmt.Errorf("got %s, want %s", h.Type, want)
	}
	return body, err
}

func (w *wire) publish(topic, payload string) error {
	packet, err := mqtt.AppendPublish(nil, mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
	if err == nil {
		_, err = w.conn.Write(packet)
	}
	return err
}

func (w *wire) message() (iothub.Topic, error) {
	body, err := w.expect(mqtt.TypePublish)
	if err != nil {
		return iothub.Topic{}, err
	}
	p, err := mqtt.ParsePublish(mqtt.Header{Type: mqtt.TypePublish}, body)
	if err != nil {
		return iothub.Topic{}, err
	}
	return iothub.ParseTopic(string(p.Topic))
}

// report reports n and waits for the acknowledgement.
func (w *wire) report(n int) error {
	if err := w.publish(iothub.ReportedTopic(strconv.Itoa(n)), fmt.Sprintf(`{"n":%d}`, n)); err != nil {
		return err
	}
	topic, err := w.message()
	if err == nil && (topic.Status != 204 || topic.RequestID != strconv.Itoa(n)) {
		err = fmt.Errorf("report %d was answered by %+v", n, topic)
	}
	return err
}
