// Package hub is an IoT hub to test against: devices connect to it by MQTT, services drive it by REST, and it runs jobs,
// with the protocol, the errors and the limits of Azure IoT Hub.
package hub
