// Package iothub is the public protocol of Azure IoT Hub as its clients see it:
// connection strings, SAS tokens, MQTT topics, documents, twin patches and
// errors, and a client of the service's REST API. It knows nothing of any one
// implementation of a hub, and a hub uses the same types from the other side.
//
// # Who speaks
//
// A [ConnectionString] names a hub and whoever speaks to it. A device signs a
// token for itself with [NewToken] and [DeviceResource], and connects over MQTT
// with its id as client id, [Username] as user name and the token as password;
// topics are made by [TwinGetTopic] and the like and read by [ParseTopic]. A
// module of a device does the same with [ModuleResource], [ModuleClientID] and
// [ModuleUsername]. A service makes a [Client]:
//
//	cs, err := iothub.ParseConnectionString(os.Getenv("IOTHUB_CONNECTION_STRING"))
//	…
//	client, err := iothub.NewClient(cs, nil)
//	…
//	defer client.Close()
//	twin, err := client.Twin(ctx, "dev1")
//
// # Errors and retries
//
// A refusal by the hub is an [*Error] inside the returned error; ask [HasCode]
// for what matters. A request is made again after 429, 500, 503 and broken
// connections (none could be made, it was lost, or no answer came in time), but
// only where twice does the same as once:
//
//   - reads, queries, lists and statistics, always;
//   - [Client.CreateJob] and [Client.CancelJob], where a refusal that their own
//     earlier attempt explains is success;
//   - changes of twins and devices with any etag ("*"); with a given etag after
//     429 alone;
//   - [Client.CreateDevice] and [Client.Bulk] if the devices bring their own
//     credentials, else after 429 alone, as [Client.CreateModule] always;
//   - [Client.InvokeMethod], [Client.InvokeModuleMethod] and
//     [Client.PurgeMessages] after 429 alone.
//
// The waits between attempts are random (full jitter), grow exponentially and
// are bounded by the context and by [RetryOptions]. When no attempt can be
// begun in time the last one's error is returned at once. A [Trace] counts the
// attempts of a call and tells when each was written.
//
// # Secrets
//
// Keys and tokens are masked in every way of printing the values that hold
// them, and do not stand in errors. [ConnectionString.Reveal], [Key.Base64] and
// [Secret.Reveal] reveal them, as does the JSON of a [Device] and a
// [BulkEntry], which travels to the hub.
//
// # Concurrency
//
// A Client is safe for concurrent use; it starts no goroutine but those of its
// transport's connections, which end with Close when they are idle. All other
// functions are pure, and values may be shared as long as nobody writes to
// them.
package iothub
