// Package iothub is the public protocol of Azure IoT Hub as its clients see it:
// names, connection strings, SAS tokens, MQTT topics, documents, twin patches
// and errors, and a client of the service's REST API.
package iothub
