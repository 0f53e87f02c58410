// What pages ask of a run's data, which report/page.go writes.
const model = (() => {
  'use strict';

  // Outcomes, the best first: an order of how bad each is for a device.
  const outcomes = [
    ['succeeded', 'succeeded'],
    ['cancelled', 'cancelled'],
    ['notDispatched', 'not dispatched'],
    ['offline', 'offline'],
    ['timedOut', 'timed out'],
    ['failed', 'failed'],
    ['unknown', 'unknown'],
  ].map(([key, name]) => ({ key, name, color: `--o-${key}` }));

  // Phases, those first that say the most.
  const phases = [
    ['total', 'response', 'due to finished'],
    ['service', 'service', 'dispatched to finished'],
    ['lag', 'lag', 'due to dispatched'],
    ['delivery', 'delivery', 'due to received'],
    ['downlink', 'downlink', 'dispatched to received'],
    ['device', 'device', 'received to answered'],
    ['uplink', 'uplink', 'answered to finished'],
    ['booking', 'booking', 'due to the hub’s row’s end'],
  ].map(([key, name, what]) => ({ key, name, what }));

  const statistics = [
    ['p50', 'p50'],
    ['p90', 'p90'],
    ['p99', 'p99'],
    ['p999', 'p99.9'],
    ['max', 'max'],
  ];

  const palette = n => `--s${n % 8}`;

  // response is the phase that tells how long a job took from due: total, or
  // booking of a job of which devices see nothing.
  function response(phases) {
    return phases.total ? 'total' : 'booking';
  }

  // curve gives a count that grows as x, in seconds, and y, in percent of all.
  // One that does not come to all of them goes on to where it ended, in ms.
  function curve(c, all, ended) {
    const x = [Math.min(0, (c.at[0] ?? 0) / 1e3), ...c.at.map(ms => ms / 1e3)],
      y = [0, ...c.n.map(n => (100 * n) / all)];
    if (y[y.length - 1] < 100 && ended / 1e3 > x[x.length - 1]) {
      x.push(ended / 1e3);
      y.push(y[y.length - 1]);
    }
    return { x, y };
  }

  // column gives whole µs as ms, and null where there is no value.
  function column(us) {
    return us.map(v => (v < 0 ? null : v / 1e3));
  }

  // sorted gives the entries of counts, the largest first.
  function sorted(counts) {
    return Object.entries(counts || {}).sort((a, b) => b[1] - a[1]);
  }

  // faultBands are the stretches of a run in which faults on purpose were on.
  function faultBands(s) {
    return (s.faults || [])
      .filter(f => f.begun != null)
      .map(f => ({ from: f.begun / 1e3, to: f.lasted == null ? s.durationSeconds : (f.begun + f.lasted) / 1e3 }));
  }

  return { sorted, faultBands, outcomes, phases, statistics, palette, response, curve, column };
})();
