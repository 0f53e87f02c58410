package sample

// ReceiptKind is what a device received.
type ReceiptKind uint8

// The kinds of receipt.
const (
	MethodReceipt  ReceiptKind = iota + 1 // a direct method request
	DesiredReceipt                        // a notification of changed desired properties
)

// String returns the kind's name.
func (k ReceiptKind) String() string {
	switch k {
	case MethodReceipt:
		return "method"
	case DesiredReceipt:
		return "desired"
	}
	return "invalid"
}

// Receipt is one request that reached a device. It carries no job: a hub does
// not tell a device which job a request belongs to.
type Receipt struct {
	Device  uint32
	Kind    ReceiptKind
	Name    string // the method's name
	Payload []byte // the method's payload, or the desired patch without $version
	At      Moment // the handler was entered, or the notification read
}
