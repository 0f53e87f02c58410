package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"muster/device"
	"muster/fleet/paho"
	"muster/iothub"
)

const deviceVariable = "IOTHUB_DEVICE_CONNECTION_STRING"

type deviceFlags struct {
	connection, mqtt string
	ca, cert, key    string
	methods          []string
	status           int
	response         string
	tokenLifetime    time.Duration
	verbose          bool
}

func newDevice(stdio Stdio) *cobra.Command {
	var flags deviceFlags
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Be one device of any hub: answer methods, follow the twin",
		Long: `Be one device of a hub, real or embedded, until an interrupt. It prints each direct method
and each change of its desired properties on stdout, answers the one and reports the other
back. News of the connection go to stderr. It renews its token before it expires and comes
back after a loss.

It connects over TLS to the GatewayHostName of the connection string, or else its HostName,
on port 8883. --mqtt overrides that: mqtt://HOST[:1883] is plain TCP, mqtts://HOST[:8883] is
TLS, and HOST:PORT is plain on port 1883 and TLS on every other.

It ends with 0 when it is interrupted, and with 1 if the hub refuses the first connection,
or once a token that was given in place of a key has expired.`,
		Args: cobra.NoArgs,
		RunE: action(func(ctx context.Context, _ []string) error { return runDevice(ctx, &flags, stdio) }),
	}
	f := cmd.Flags()
	f.StringVar(&flags.connection, "connection-string", "", "the device's connection string, a secret (default $"+deviceVariable+")")
	f.StringVar(&flags.mqtt, "mqtt", "", "where to connect to, in place of the connection string's host")
	f.StringVar(&flags.ca, "ca", "", "PEM file of the authorities to trust, in place of the system's")
	f.StringVar(&flags.cert, "cert", "", "PEM file of the device's certificate, for a connection string with x509=true")
	f.StringVar(&flags.key, "key", "", "PEM file of the certificate's key")
	f.StringSliceVar(&flags.methods, "methods", nil, "the methods that the device has, others are answered with 404 (default: every one)")
	f.IntVar(&flags.status, "status", 200, "status of the answers")
	f.StringVar(&flags.response, "response", "", `payload of the answers, JSON (default {"Response":"NAME called successfully"})`)
	f.DurationVar(&flags.tokenLifetime, "token-lifetime", time.Hour, "how long a token is good; it is renewed after four fifths of that")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "log what the device cannot read")
	cmd.AddCommand(newDeviceCreate(stdio), newDeviceToken(stdio))
	return cmd
}

func newDeviceCreate(stdio Stdio) *cobra.Command {
	var hub serviceFlags
	cmd := &cobra.Command{
		Use:   "create ID",
		Short: "Create a device's identity and print its connection string",
		Long: `Create a device's identity, unless it is there, and print its connection string. That is a
secret: it goes to stdout alone, for a variable or a file.`,
		Args: cobra.ExactArgs(1),
		RunE: action(func(ctx context.Context, args []string) error { return createDevice(ctx, args[0], &hub, stdio) }),
	}
	hub.register(cmd.Flags())
	return cmd
}

func newDeviceToken(stdio Stdio) *cobra.Command {
	var connection string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a SAS token: a device's password for other MQTT clients",
		Long: `Print a SAS token of a device, made of its key: the password with which any other MQTT
client is this device. It is a secret until it expires: it goes to stdout alone, for a
variable. No hub is asked.`,
		Args: cobra.NoArgs,
		RunE: action(func(context.Context, []string) error { return printToken(connection, lifetime, stdio) }),
	}
	f := cmd.Flags()
	f.StringVar(&connection, "connection-string", "", "the device's connection string, a secret (default $"+deviceVariable+")")
	f.DurationVar(&lifetime, "lifetime", time.Hour, "how long the token is good")
	return cmd
}

func printToken(connection string, lifetime time.Duration, stdio Stdio) error {
	cs, err := connectionString("--connection-string", connection, deviceVariable)
	switch {
	case err != nil:
		return err
	case cs.DeviceID == "" || len(cs.SharedAccessKey) == 0:
		return withStatus(exitUsage, errors.New("--connection-string: a token is made of a device's key; this is not a connection string with both"))
	case lifetime < time.Second:
		return withStatus(exitUsage, fmt.Errorf("--lifetime %v: must be 1s at least", lifetime))
	}
	resource := iothub.DeviceResource(cs.HostName, cs.DeviceID)
	_, err = fmt.Fprintln(stdio.Out, iothub.NewToken(resource, cs.SharedAccessKey, cs.SharedAccessKeyName, time.Now().Add(lifetime)))
	return err
}

func createDevice(ctx context.Context, id string, hub *serviceFlags, stdio Stdio) error {
	if !iothub.ValidDeviceID(id) {
		return withStatus(exitUsage, fmt.Errorf("%.130q is not a device id", id))
	}
	client, host, err := hub.client()
	if err != nil {
		return err
	}
	defer client.Close()
	d, err := client.CreateDevice(ctx, iothub.Device{DeviceID: id})
	if iothub.HasCode(err, iothub.CodeDeviceAlreadyExists) {
		d, err = client.Device(ctx, id)
	}
	if err != nil {
		return err
	}
	if d.Authentication == nil || len(d.Authentication.SymmetricKey.Primary) == 0 {
		return fmt.Errorf("device %s has no key: it connects with a certificate", id)
	}
	cs := iothub.ConnectionString{HostName: host, DeviceID: id, SharedAccessKey: d.Authentication.SymmetricKey.Primary}
	_, err = fmt.Fprintln(stdio.Out, cs.Reveal())
	return err
}

// runDevice is a device until ctx ends. What it has to say goes over lines to
// one goroutine that prints: handlers run side by side.
func runDevice(ctx context.Context, flags *deviceFlags, stdio Stdio) error {
	cs, err := connectionString("--connection-string", flags.connection, deviceVariable)
	if err != nil {
		return err
	}
	endpoint, err := flags.endpoint(cs)
	if err != nil {
		return err
	}
	if err := flags.check(cs); err != nil {
		return withStatus(exitUsage, err)
	}
	config, err := tlsConfig(flags.ca, flags.cert, flags.key)
	if err != nil {
		return err
	}
	v := &voice{flags: flags, out: stdio.Out, log: stdio.Err, lines: make(chan line)}
	d, err := device.New(cs, paho.Driver{}, endpoint.Dial(config), v.options(stdio.Err))
	if err != nil {
		return withStatus(exitUsage, err)
	}
	if endpoint.Exposed() {
		fmt.Fprintf(stdio.Err, "warning: %s is not encrypted, and the device's token travels over it\n", endpoint)
	}
	fmt.Fprintf(stdio.Err, "connecting to %s as %s\n", endpoint, cs.DeviceID)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var printing errgroup.Group // joined below, after lines is closed
	printing.Go(func() error { return v.print(stop) })
	err = d.Run(ctx)
	close(v.lines) // nobody says anything after Run
	return errors.Join(err, printing.Wait())
}

// endpoint says where to connect to.
func (f *deviceFlags) endpoint(cs iothub.ConnectionString) (device.Endpoint, error) {
	if f.mqtt == "" {
		return device.EndpointOf(cs), nil
	}
	e, err := device.ParseEndpoint(f.mqtt)
	if err != nil {
		return e, withStatus(exitUsage, fmt.Errorf("--mqtt: %w", err))
	}
	return e, nil
}

// check reports what is wrong with the other flags.
func (f *deviceFlags) check(cs iothub.ConnectionString) error {
	switch {
	case f.status < 0 || f.status > math.MaxInt32:
		return fmt.Errorf("--status %d: must not be negative", f.status)
	case f.response != "" && !json.Valid([]byte(f.response)):
		return errors.New("--response: is not JSON")
	case f.tokenLifetime < time.Minute:
		return fmt.Errorf("--token-lifetime %v: must be 1m at least", f.tokenLifetime)
	case cs.X509 && f.cert == "":
		return errors.New("a connection string with x509=true needs --cert and --key")
	}
	return nil
}

// voice words what a device does. Its methods are called side by side; print
// alone writes.
type voice struct {
	flags    *deviceFlags
	out, log io.Writer
	lines    chan line // unbuffered: the device waits for its reader. Closed by runDevice
}

// line is a line for stdout or stderr.
type line struct {
	to   io.Writer
	text string
}

// print writes the lines until there are no more. If stdout is gone, it ends
// the device; the rest is dropped.
func (v *voice) print(stop context.CancelCauseFunc) error {
	var failed error
	for l := range v.lines {
		_, err := io.WriteString(l.to, l.text+"\n")
		if err != nil && l.to == v.out && failed == nil {
			failed = err
			stop(err)
		}
	}
	return failed
}

func (v *voice) say(format string, args ...any) {
	v.lines <- line{v.out, printable(fmt.Sprintf(format, args...))}
}

func (v *voice) note(format string, args ...any) {
	v.lines <- line{v.log, printable(fmt.Sprintf(format, args...))}
}

func (v *voice) options(log io.Writer) *device.Options {
	return &device.Options{
		Method: v.method, Desired: v.desired, Reported: v.reported, News: v.news,
		TokenLifetime: v.flags.tokenLifetime, Logger: newLogger(log, v.flags.verbose),
	}
}

// method answers a call. The tutorial's device greets its one method with a
// line of its own, and so does this.
func (v *voice) method(_ context.Context, c device.Call) device.Answer {
	answer, greeting := v.answer(c.Name), ""
	switch {
	case !v.has(c.Name):
		greeting = "unknown "
	case c.Name == "lockDoor":
		greeting = "Locking Door! "
	}
	v.say("%smethod %s, payload %s, answered %d", greeting, c.Name, oneLine(c.Payload), answer.Status)
	return answer
}

func (v *voice) has(method string) bool {
	return len(v.flags.methods) == 0 || slices.Contains(v.flags.methods, method)
}

func (v *voice) answer(method string) device.Answer {
	if !v.has(method) {
		return device.Answer{Status: device.StatusNoMethod}
	}
	payload := []byte(v.flags.response)
	if len(payload) == 0 {
		payload, _ = json.Marshal(map[string]string{"Response": method + " called successfully"}) // never fails
	}
	return device.Answer{Status: v.flags.status, Payload: payload}
}

func (v *voice) desired(u device.Update) {
	what := "changed"
	if u.Complete {
		what = "all"
	}
	v.say("desired properties, version %d, %s: %s", u.Version, what, oneLine(u.Properties))
}

func (v *voice) reported(u device.Update, version int64, err error) {
	if err != nil {
		v.note("desired version %d is not reported back: %v", u.Version, err)
		return
	}
	v.say("desired version %d is reported back, reported version %d", u.Version, version)
}

func (v *voice) news(n device.News) {
	wait := n.Wait.Round(time.Millisecond)
	switch n.State {
	case device.Online:
		v.note("online")
	case device.Renewing:
		v.note("the token is renewed")
	case device.Lost:
		v.note("connection lost: %v; next attempt in %v", n.Err, wait)
	case device.Failed:
		v.note("not connected: %v; next attempt in %v", n.Err, wait)
	}
}

// oneLine returns JSON without its white space, other text quoted, and null
// for none.
func oneLine(payload []byte) string {
	if len(payload) == 0 {
		return "null"
	}
	var b bytes.Buffer
	if json.Compact(&b, payload) != nil {
		return fmt.Sprintf("%q", payload)
	}
	return b.String()
}
