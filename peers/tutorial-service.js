'use strict';
// The service of the tutorial on jobs, with the official SDK: it schedules a job that changes desired properties of a
// device and one that locks its door, and follows both to their end. HUB is the connection string, the argument the device.

const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client, JobClient, Registry } = require('azure-iothub');

const hub = process.env.HUB;
const deviceId = process.argv[2];
const jobs = JobClient.fromConnectionString(hub);
const condition = `deviceId IN ['${deviceId}']`;

async function follow(jobId) {
  for (;;) {
    const { jobStatus: job } = await jobs.getJob(jobId);
    if (['completed', 'failed', 'cancelled'].includes(job.status)) return job;
    await sleep(50);
  }
}

// online waits for the device: a job calls each device once.
async function online() {
  await Client.fromConnectionString(hub)
    .invokeDeviceMethod(deviceId, { methodName: 'lockDoor', connectTimeoutInSeconds: 60, responseTimeoutInSeconds: 15 });
}

(async () => {
  await online();
  const twinJob = randomUUID();
  await jobs.scheduleTwinUpdate(twinJob, condition, { etag: '*', properties: { desired: { building: 43, floor: 3 } } }, new Date(), 300);
  console.log('twin job', (await follow(twinJob)).status);
  const methodJob = randomUUID();
  const method = { methodName: 'lockDoor', payload: { lockTime: '10m' }, responseTimeoutInSeconds: 15 };
  await jobs.scheduleDeviceMethod(methodJob, condition, method, new Date(), 300);
  console.log('method job', (await follow(methodJob)).status);
  const rows = Registry.fromConnectionString(hub).createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${methodJob}'`);
  for (const row of (await rows.next()).result) console.log(row.deviceId, row.status, JSON.stringify(row.outcome.deviceMethodResponse));
})().catch((err) => { console.error(err); process.exit(1); });
