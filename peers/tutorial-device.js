'use strict';
// The device of the tutorial on jobs, with the official SDK: it locks its door when it is told to, and follows its
// desired properties. DEVICE is its connection string.

const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const device = Client.fromConnectionString(process.env.DEVICE, Mqtt);

// It listens to methods last: the service takes it to be online when a method reaches it, and what is desired from then on must
// reach it too.
function listen() {
  device.onDeviceMethod('lockDoor', (request, response) => {
    console.log('Locking Door!', JSON.stringify(request.payload));
    response.send(200, { Response: 'lockDoor called successfully' }, (err) => { if (err) console.error(err.message); });
  });
}

device.open()
  .then(() => device.getTwin())
  .then((twin) => twin.on('properties.desired', (patch) => console.log('desired', JSON.stringify(patch))))
  .then(listen)
  .catch((err) => { console.error(err.message); process.exit(1); });
