// Package peers tests `muster hub` with clients of the service that others wrote, the official Node SDKs, unmodified, and
// a run's results with their readers, such as hdr-histogram-js. `make peers` installs them beside this file.
package peers
