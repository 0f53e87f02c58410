// Package peers tests `muster hub` with clients of the service that others wrote: the official Node SDKs, unmodified.
// `make peers` installs them beside this file.
package peers
