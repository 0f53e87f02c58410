// Package peers tests muster with programs that others wrote. `muster hub` meets clients of the service: the official Node SDKs,
// unmodified, Mosquitto's tools and mqtt.js. A run's results meet their readers, such as hdr-histogram-js, and its page meets
// Chromium. `make peers` installs them, beside this file or on the system.
package peers
