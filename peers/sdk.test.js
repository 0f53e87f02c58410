'use strict';
// The official Node SDKs, unmodified, against `muster hub`. peers_test.go starts the hub and says in the environment
// where it is: HUB is the service's connection string, on the ports that the service has; CERTIFICATES is a folder with
// NAME.pem and NAME-key.pem for devices, THUMBPRINT that of thumb.pem.

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');
const { json } = require('node:stream/consumers');
const { setTimeout: sleep } = require('node:timers/promises');

const { SharedAccessSignature, anHourFromNow } = require('azure-iot-common');
const { Client: Device, ModuleClient: Module, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Registry, Client: Service, JobClient } = require('azure-iothub');

const hub = process.env.HUB;
const host = /HostName=([^;]+)/.exec(hub)[1];
const registry = Registry.fromConnectionString(hub);
const service = Service.fromConnectionString(hub);
const jobs = JobClient.fromConnectionString(hub);

// limits end a test that stands still: it fails then.
const limits = { timeout: 30_000 };

// register makes a device and returns its connection string.
async function register(deviceId) {
  const { responseBody: device } = await registry.create({ deviceId });
  return `HostName=${host};DeviceId=${deviceId};SharedAccessKey=${device.authentication.symmetricKey.primaryKey}`;
}

// behave gives a device the behaviour of the tests: a method that echoes, and a twin whose desired properties are
// queued up and reported back. It is online until the test ends, and listens to desired properties when behave is done:
// the SDK tells nobody when the hub has its subscription, and does not subscribe again after a loss.
async function behave(t, id, device) {
  t.after(() => device.close());
  device.onDeviceMethod('echo', (request, response) => response.send(200, request.payload));
  await device.open();
  const twin = await device.getTwin();
  assert.equal(twin.properties.desired.$version, 1);
  const seen = [];
  twin.on('properties.desired', (patch) => seen.push(patch));
  await eventually('it listens to desired properties', async () => {
    await registry.updateTwin(id, { properties: { desired: { listening: true } } }, '*');
    await sleep(20);
    return seen.some((p) => p.listening);
  });
  const report = (patch) => new Promise((done, fail) => twin.properties.reported.update(patch, (err) => (err ? fail(err) : done())));
  return { seen, report };
}

// eventually waits for what must come.
async function eventually(what, check) {
  for (let i = 0; i < 200; i++) {
    if (await check()) return;
    await sleep(50);
  }
  assert.fail(`not so after 10 s: ${what}`);
}

async function invoke(deviceId, payload) {
  const { result } = await service.invokeDeviceMethod(deviceId, { methodName: 'echo', payload, responseTimeoutInSeconds: 5 });
  return result;
}

// muster asks an endpoint that is muster's own.
async function muster(method, path, body) {
  const authorization = SharedAccessSignature.create(host, 'iothubowner', /SharedAccessKey=(.*)$/.exec(hub)[1],
    anHourFromNow()).toString();
  const answer = await new Promise((done, fail) => https.request({ method, host, path: `/muster${path}`, headers: { authorization } }, done)
    .on('error', fail).end(body && JSON.stringify(body)));
  return json(answer);
}

// accepted counts the CONNECTs that the hub took.
const accepted = async () => (await muster('GET', '/stats')).accepted;

test('identities', limits, async () => {
  const { responseBody: made } = await registry.create({ deviceId: 'reg-1' });
  assert.equal(made.authentication.type, 'sas');
  await assert.rejects(registry.create({ deviceId: 'reg-1' }), { name: 'DeviceAlreadyExistsError' });
  const { responseBody: bulk } = await registry.addDevices([{ deviceId: 'reg-2' }, { deviceId: 'reg-3' }]);
  assert.equal(bulk.isSuccessful, true);
  const { responseBody: changed } = await registry.update({ deviceId: 'reg-1', status: 'disabled' });
  assert.equal(changed.status, 'disabled');
  const { responseBody: all } = await registry.list();
  assert.deepEqual(all.map((d) => d.deviceId).filter((id) => id.startsWith('reg-')).sort(), ['reg-1', 'reg-2', 'reg-3']);
  await registry.removeDevices([{ deviceId: 'reg-2' }, { deviceId: 'reg-3' }], true);
  await registry.delete('reg-1');
  await assert.rejects(registry.get('reg-1'), { name: 'DeviceNotFoundError' });
});

for (const [name, transport] of [['mqtt', Mqtt], ['ws', MqttWs]]) {
  test(`a device over ${name}`, limits, async (t) => {
    const id = `dev-${name}`;
    const device = Device.fromConnectionString(await register(id), transport);
    const { seen, report } = await behave(t, id, device);
    assert.deepEqual(await invoke(id, { a: 1 }), { status: 200, payload: { a: 1 } });
    assert.deepEqual(await invoke(id, null), { status: 200, payload: null });
    await registry.updateTwin(id, { tags: { floor: 2 }, properties: { desired: { open: true } } }, '*');
    await eventually('the desired property arrives', () => seen.some((p) => p.open === true));
    await report({ open: true });
    const { responseBody: shown } = await registry.getTwin(id);
    assert.equal(shown.properties.reported.open, true);
    assert.equal(shown.connectionState, 'Connected');
    await device.sendEvent(new Message('x'.repeat(200_000))); // more than one TLS record and one WebSocket frame
    await device.close();
    await eventually('the device is offline', async () => (await registry.getTwin(id)).responseBody.connectionState === 'Disconnected');
    await assert.rejects(invoke(id, 1), /Not found/);
  });

  // After a renewal the SDK connects with CleanSession=0 and does not subscribe again.
  test(`renewed tokens over ${name}`, limits, async (t) => {
    const id = `renew-${name}`;
    const device = Device.fromConnectionString(await register(id), transport);
    await device.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 6, tokenRenewalMarginInSeconds: 4 } });
    const before = await accepted();
    const { seen, report } = await behave(t, id, device);
    await eventually('the token was renewed twice', async () => (await accepted()) >= before + 3);
    await registry.updateTwin(id, { properties: { desired: { n: 1 } } }, '*');
    await eventually('the desired property arrives', () => seen.some((p) => p.n === 1));
    await report({ n: 1 });
    assert.deepEqual(await invoke(id, 'still there'), { status: 200, payload: 'still there' });
  });
}

test('modules', limits, async (t) => {
  await register('with-modules');
  const { responseBody: made } = await registry.addModule({ deviceId: 'with-modules', moduleId: 'lock' });
  await assert.rejects(registry.addModule({ deviceId: 'with-modules', moduleId: 'lock' }), { name: 'DeviceAlreadyExistsError' });
  assert.deepEqual((await registry.getModulesOnDevice('with-modules')).responseBody.map((m) => m.moduleId), ['lock']);
  const key = made.authentication.symmetricKey.primaryKey;
  const module = Module.fromConnectionString(`HostName=${host};DeviceId=with-modules;ModuleId=lock;SharedAccessKey=${key}`, Mqtt);
  t.after(() => module.close());
  module.onMethod('echo', (request, response) => response.send(200, request.payload));
  await module.open();
  const twin = await module.getTwin();
  const seen = [];
  twin.on('properties.desired', (patch) => seen.push(patch));
  const call = { methodName: 'echo', payload: 'module', responseTimeoutInSeconds: 5 };
  const { result } = await service.invokeDeviceMethod('with-modules', 'lock', call);
  assert.deepEqual(result, { status: 200, payload: 'module' });
  await eventually('the desired property arrives', async () => { // as soon as it listens, see behave
    await registry.updateModuleTwin('with-modules', 'lock', { properties: { desired: { open: true } } }, '*');
    return seen.some((p) => p.open === true);
  });
  await new Promise((done, fail) => twin.properties.reported.update({ open: true }, (err) => (err ? fail(err) : done())));
  const { responseBody: shown } = await registry.getModuleTwin('with-modules', 'lock');
  assert.deepEqual([shown.moduleId, shown.connectionState, shown.properties.reported.open], ['lock', 'Connected', true]);
  await module.sendEvent(new Message('of the module'));
  assert.equal((await muster('GET', '/devices/with-modules/modules/lock/telemetry')).latest.body, 'of the module');
  const query = registry.createQuery("SELECT * FROM devices.modules WHERE moduleId = 'lock'", 10);
  assert.deepEqual((await query.next()).result.map((r) => [r.deviceId, r.moduleId]), [['with-modules', 'lock']]);
  await registry.removeModule('with-modules', 'lock');
  await assert.rejects(registry.getModule('with-modules', 'lock'), /Not found/);
});

test('messages both ways', limits, async (t) => {
  const device = Device.fromConnectionString(await register('messages'), Mqtt);
  t.after(() => device.close());
  const got = [];
  device.on('message', (message) => {
    got.push(message);
    device.complete(message, () => {});
  });
  await muster('POST', '/devices/messages/messages', { body: 'waits' });
  await device.open();
  const count = async () => (await registry.get('messages')).responseBody.cloudToDeviceMessageCount;
  await eventually('what waited arrives', () => got.length === 1);
  await muster('POST', '/devices/messages/messages', {
    systemProperties: { messageId: 'm 1', contentType: 'text/plain' }, properties: { 'al ert': 'a&b=c' }, body: 'grüezi',
  });
  await eventually('the other one too', () => got.length === 2);
  const [first, second] = got;
  assert.equal(first.getData().toString(), 'waits');
  assert.equal(second.getData().toString(), 'grüezi');
  assert.equal(second.messageId, 'm 1');
  assert.equal(second.properties.getValue('al ert'), 'a&b=c');
  await eventually('both are acknowledged', async () => (await count()) === 0);

  const message = new Message('{"t":21}');
  message.messageId = 'up';
  message.contentType = 'application/json';
  message.properties.add('al ert', 'a&b=c');
  await device.sendEvent(message);
  const { latest } = await muster('GET', '/devices/messages/telemetry');
  assert.equal(latest.body, '{"t":21}');
  assert.equal(latest.systemProperties.messageId, 'up');
  assert.equal(latest.systemProperties.contentType, 'application/json');
  assert.deepEqual(latest.properties, { 'al ert': 'a&b=c' });
});

test('a lost connection comes back with its session', limits, async (t) => {
  const open = new Set();
  const proxy = net.createServer((near) => {
    const far = net.connect(8883, host);
    for (const s of [near, far]) {
      open.add(s);
      s.on('error', () => {}).on('close', () => { open.delete(s); near.destroy(); far.destroy(); });
    }
    near.pipe(far).pipe(near);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => proxy.close());
  const device = Device.fromConnectionString(`${await register('lost')};GatewayHostName=localhost:${proxy.address().port}`, Mqtt);
  const before = await accepted();
  const { seen } = await behave(t, 'lost', device);
  for (const s of open) s.destroy();
  await eventually('it connected anew', async () => (await accepted()) >= before + 2);
  await registry.updateTwin('lost', { properties: { desired: { n: 1 } } }, '*');
  await eventually('the desired property arrives', () => seen.some((p) => p.n === 1));
  assert.deepEqual(await invoke('lost', 7), { status: 200, payload: 7 });
});

test('refused devices', limits, async () => {
  const good = await register('refused');
  const other = await register('refused-too');
  const wrong = good.replace(/SharedAccessKey=.*/, other.slice(other.indexOf('SharedAccessKey=')));
  for (const transport of [Mqtt, MqttWs]) {
    await assert.rejects(Device.fromConnectionString(wrong, transport).open(), { name: 'UnauthorizedError' });
  }
});

test('certificates', limits, async () => {
  const read = (name) => fs.readFileSync(path.join(process.env.CERTIFICATES, name), 'utf8');
  const connect = async (id, name) => {
    const device = Device.fromConnectionString(`HostName=${host};DeviceId=${id};x509=true`, Mqtt);
    await device.setOptions({ cert: read(`${name}.pem`), key: read(`${name}-key.pem`) });
    await device.open();
    return device;
  };
  await registry.create({
    deviceId: 'thumb',
    authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: process.env.THUMBPRINT, secondaryThumbprint: null } },
  });
  await registry.create({ deviceId: 'vouched', authentication: { type: 'certificateAuthority' } });
  for (const id of ['thumb', 'vouched']) await (await connect(id, id)).close();
  await assert.rejects(connect('thumb', 'vouched'), { name: 'UnauthorizedError' });
  await assert.rejects(connect('vouched', 'thumb'), { name: 'UnauthorizedError' });
});

test('jobs', limits, async (t) => {
  const id = 'job-dev';
  const device = Device.fromConnectionString(await register(id), Mqtt);
  await behave(t, id, device);
  const finished = async (jobId) => {
    let job;
    await eventually(`${jobId} is completed`, async () => {
      job = (await jobs.getJob(jobId)).jobStatus;
      return job.status === 'completed';
    });
    return job;
  };
  const condition = `deviceId IN ['${id}']`;
  await jobs.scheduleDeviceMethod('sdk-method', condition,
    { methodName: 'echo', payload: { lockTime: '10m' }, responseTimeoutInSeconds: 15 }, new Date(), 60);
  const job = await finished('sdk-method');
  assert.equal(job.deviceJobStatistics.succeededCount, 1);
  const query = registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'sdk-method'", 10);
  const { result: rows } = await query.next();
  assert.deepEqual(rows.map((r) => [r.deviceId, r.status, r.outcome.deviceMethodResponse.payload]), [[id, 'completed', { lockTime: '10m' }]]);
  await jobs.scheduleTwinUpdate('sdk-twin', condition,
    { etag: '*', properties: { desired: { lock: true } } }, new Date(), 60);
  await finished('sdk-twin');
  const listed = [];
  for (let list = jobs.createQuery('scheduleDeviceMethod', 'completed', 1); ;) {
    listed.push(...(await list.next()).result);
    if (!list.hasMoreResults) break;
  }
  assert.deepEqual(listed.map((j) => j.jobId), ['sdk-method']);
  assert.equal((await registry.getTwin(id)).responseBody.properties.desired.lock, true);
  await jobs.scheduleDeviceMethod('sdk-later', condition, { methodName: 'echo', payload: null }, new Date(Date.now() + 3600_000), 60);
  await jobs.cancelJob('sdk-later');
  assert.equal((await jobs.getJob('sdk-later')).jobStatus.status, 'cancelled');
});
