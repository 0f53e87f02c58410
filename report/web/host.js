// What a run says of everything around its jobs: connects, faults on purpose,
// the generator and the hub, the scenario and the host.
const host = (() => {
  'use strict';
  const { el, table, fold } = dom;

  // --- connect ---

  function connect(data) {
    const f = data.summary.fleet,
      { due, ready } = data.ramp;
    const errors = [
      ['attempt to connect', f.errors],
      ['of them, to come back', f.reconnectErrors],
      ['connection lost', f.lostBy],
    ].flatMap(([what, m]) => model.sorted(m).map(([why, n]) => [what, why || 'no cause given', format.count(n)]));
    const series = [
      ['were due', due, '--lag', [4, 3]],
      ['were ready', ready, '--response', undefined],
    ]
      .filter(([, c]) => c.at.length)
      .map(([label, c, color, dash]) => ({
        label,
        color,
        dash,
        stepped: true,
        x: [Math.min(0, c.at[0] / 1e3), ...c.at.map(ms => ms / 1e3)],
        y: [0, ...c.n],
      }));
    return el(
      'div',
      null,
      series.length
        ? chart.line({
            title: 'Connect ramp',
            note: 'Devices that were due to connect for the first time, and those that were ready: subscribed, twin read. The distance between the lines is how long they took.',
            summary: `${format.count(f.connected)} of ${format.count(f.devices)} devices connected, p99 ${format.duration(f.connect?.p99)}.`,
            series,
            bands: model.faultBands(data.summary),
            x: chart.axes.time,
            y: chart.axes.count('devices'),
            read: format.count,
            table: () =>
              table(
                'Connect latency',
                ['devices', '#connected', '#failed', '#came back', ...model.statistics.map(([, head]) => `#${head}`)],
                [
                  [
                    format.count(f.devices),
                    format.count(f.connected),
                    format.count(f.failed),
                    format.count(f.reconnects),
                    ...model.statistics.map(([k]) => format.duration(f.connect?.[k])),
                  ],
                ],
              ),
          })
        : el('p', { class: 'note' }, 'No device connected.'),
      errors.length ? table('Attempts that failed, and connections lost', ['what', 'cause', '#how often'], errors) : null,
    );
  }

  // --- faults on purpose ---

  function faults(s) {
    if (!s.faults?.length) return null;
    return el(
      'div',
      null,
      el('p', { class: 'note' }, 'Faults on purpose, as the scenario has them. Charts over time are shaded while one was on.'),
      table(
        'Faults',
        ['fault', 'asked for', '#begun', '#lasted', '#struck', 'error'],
        s.faults.map(f => [
          f.what,
          f.at,
          f.begun == null ? 'did not begin' : format.seconds(f.begun / 1e3),
          f.lasted == null ? '–' : format.duration(f.lasted),
          (f.begun != null && f.lasted == null ? '≥ ' : '') + format.count(f.struck), // its end was not seen
          f.error || '',
        ]),
      ),
    );
  }

  // --- generator ---

  function generator(data) {
    const h = data.health,
      hub = data.hub,
      g = data.summary.generator;
    const judged = data.summary.jobs.filter(j => j.wake);
    const each = h.each > 1 ? ` Each point is the worst of ${h.each} records.` : '';
    const line = (label, color, x, y, more) => ({ label, color, x, y, ...more });
    const delays = [
      line('wake p99', '--response', h.at, model.column(h.wakeP99 || []), { width: 2.25 }),
      line('wake max', '--response', h.at, model.column(h.wakeMax || []), { dash: [2, 3] }),
      line('timer late, max', '--lag', h.at, model.column(h.late || [])),
      line('GC pause p99 so far', '--service', h.at, model.column(h.gc || [])),
    ];
    const zeros = s => ({ ...s, y: s.y.map(v => (v > 0 ? v : null)) }); // a logarithmic axis has no zero
    const hubAt = hub.at || [],
      withCPU = (hub.cpu || []).some(v => v > 0);
    return el(
      'div',
      null,
      g.reasons.length
        ? el(
            'ul',
            { class: 'warnings' },
            g.reasons.map(r => el('li', null, r)),
          )
        : null,
      h.at
        ? el(
            'div',
            { class: 'pair' },
            chart.line({
              title: 'Delays of the generator itself',
              note: `A message to itself each millisecond, its timer, and its garbage collector.${each}`,
              summary: `Over the whole run: wake p99 ${format.duration(g.wake?.p99)}, max ${format.duration(g.wake?.max)}.`,
              series: delays.map(zeros),
              bands: model.faultBands(data.summary),
              x: chart.axes.time,
              y: chart.axes.latency('delay (logarithmic)', true),
              read: format.duration,
              table: () => healthTable(h),
            }),
            chart.line({
              title: 'Processors in use',
              note: `Of ${data.run.host.cpus} that the host has.`,
              summary: `Generator ${format.significant(g.cpuSeconds)} s in all${data.summary.hub?.cpuSeconds ? `, hub ${format.significant(data.summary.hub.cpuSeconds)} s` : ''}.`,
              read: v => v.toFixed(2),
              bands: model.faultBands(data.summary),
              x: chart.axes.time,
              y: { label: 'processors', print: v => v.map(format.trim), size: 50 },
              series: [
                line('generator', '--response', h.at, h.cpu, { stepped: false }),
                ...(withCPU ? [line('hub', '--service', hubAt, hub.cpu)] : []),
              ],
              table: () => healthTable(h),
            }),
            chart.line({
              title: 'Memory',
              note: 'Resident.',
              summary: `Generator at most ${format.bytes(g.maxRSSBytes)}${data.summary.hub?.maxRSSBytes ? `, hub ${format.bytes(data.summary.hub.maxRSSBytes)}` : ''}.`,
              read: n => format.bytes(n * (1 << 20)),
              bands: model.faultBands(data.summary),
              x: chart.axes.time,
              y: { label: 'MiB', print: v => v.map(n => (n === null ? '' : format.count(n))), size: 58 },
              series: [
                line('generator', '--response', h.at, mib(h.rss)),
                ...((hub.rss || []).some(v => v > 0) ? [line('hub', '--service', hubAt, mib(hub.rss))] : []),
              ],
              table: () => healthTable(h),
            }),
            chart.line({
              title: 'Descriptors, goroutines, connections',
              note: 'Of the generator; connections as the hub counts them.',
              summary: `At most ${format.count(Math.max(0, ...(h.descriptors || [])))} descriptors of ${format.count(data.run.limits.descriptors)}.`,
              read: format.count,
              bands: model.faultBands(data.summary),
              x: chart.axes.time,
              y: chart.axes.count('how many'),
              series: [
                line('goroutines', '--s4', h.at, h.goroutines),
                line('descriptors', '--response', h.at, h.descriptors),
                ...(hubAt.length ? [line('connections of the hub', '--service', hubAt, hub.connections)] : []),
              ],
              table: () => healthTable(h),
            }),
          )
        : el('p', { class: 'note' }, 'The generator recorded nothing of itself.'),
      facts(used(g)),
      judged.length
        ? table(
            'Wakes while a job’s executions were on their way',
            ['job', '#wakes', '#p99', '#max', '#limit of p99', 'judgement'],
            judged.map(j => [
              j.name,
              format.count(j.wake.count),
              format.duration(j.wake.p99),
              format.duration(j.wake.max),
              format.duration(j.wake.limit),
              j.wake.p99 > j.wake.limit ? { text: '✗ above it', class: 'bad' } : { text: '✓ below it', class: 'good' },
            ]),
          )
        : null,
    );
  }

  // used lists what the generator used of its host, how its recording went and
  // what it costs by itself. What was not measured is left out.
  function used(g) {
    const of = u => u && format.count(u.used) + (u.limit ? ` of ${format.count(u.limit)}` : '');
    const { scheduleLag: lag, samples: s, calibration: c } = g;
    return [
      lag && ['schedule lag', `p99 ${format.duration(lag.p99)}, max ${format.duration(lag.max)} (job ${lag.job})`],
      g.lag && ['timer late', `p99 ${format.duration(g.lag.p99)}, max ${format.duration(g.lag.max)}`],
      [
        'CPU',
        `${format.significant(g.cpuSeconds)} s` +
          (g.peakCPU ? `, in the busiest second ${Math.round(100 * g.peakCPU)}\u00a0% of all processors` : ''),
      ],
      g.gcPauseP99 && ['GC pause', `p99 ${format.duration(g.gcPauseP99)}`],
      ['open files', of(g.descriptors)],
      ['local ports', of(g.ports)],
      s && [
        'samples',
        `${format.count(s.records)}, ${format.count(s.late)} late, ${format.count(s.dropped)} dropped` +
          (s.longestWait ? `; waited for the disk ${format.duration(s.longestWait)} at most` : ''),
      ],
      c && [
        'harness alone',
        `${format.significant(c.cpuMicros)}\u00a0µs of CPU a round trip; service p50 ${format.duration(c.p50)}, p99 ${format.duration(c.p99)}, max ${format.duration(c.max)} of ${format.count(c.roundTrips)}`,
      ],
    ].filter(f => f && f[1]);
  }

  function facts(list) {
    return el(
      'dl',
      { class: 'facts' },
      list.map(([k, v]) => el('div', null, el('dt', null, k), el('dd', null, v))),
    );
  }

  function mib(bytes) {
    return bytes.map(n => n / (1 << 20));
  }

  function healthTable(h) {
    return table(
      'The generator over time',
      ['time', '#wake p99', '#wake max', '#timer late', '#GC pause p99', '#processors', '#memory', '#goroutines', '#descriptors'],
      h.at.map((at, i) => [
        format.seconds(at),
        ...[h.wakeP99, h.wakeMax, h.late, h.gc].map(c => (c[i] < 0 ? '–' : format.duration(c[i] / 1e3))),
        h.cpu[i].toFixed(2),
        format.bytes(h.rss[i]),
        format.count(h.goroutines[i]),
        format.count(h.descriptors[i]),
      ]),
    );
  }

  // --- scenario and host ---

  function scenario(data) {
    const { summary: s, run } = data,
      h = run.host,
      t = run.target;
    const list = [
      [
        'target',
        [
          t.kind,
          t.transport && `over ${t.transport}`,
          t.hostName,
          t.tier && `tier ${t.tier}, ${format.plural(t.units, 'unit')}`,
          t.jobRate && `job rate ${format.count(t.jobRate)}/s`,
        ]
          .filter(Boolean)
          .join(', '),
      ],
      ['fleet', (run.groups || []).map(g => `${g.name} ${format.count(g.devices)}`).join(', ')],
      ['driver', run.driver],
      ['seed', run.seed],
      ['started', format.date(s.startedAt)],
      ['lasted', format.seconds(s.durationSeconds)],
      ['muster', [s.musterVersion, run.goVersion].filter(Boolean).join(', ')],
      [
        'host',
        [h.os, h.arch, h.kernel].filter(Boolean).join(' ') +
          `, ${format.plural(h.cpus, 'processor')}, ${format.bytes(h.memoryBytes)}`,
      ],
      ['limits', `${format.count(run.limits.descriptors)} descriptors, ${format.count(run.limits.ports)} ports`],
      ['arguments', (run.args || []).join(' ')],
      s.hub && [
        'hub',
        [
          s.hub.cpuSeconds && `${format.significant(s.hub.cpuSeconds)} s of CPU`,
          s.hub.maxRSSBytes && `${format.bytes(s.hub.maxRSSBytes)} at most`,
          `${format.plural(s.hub.connections, 'connection')} at most`,
        ]
          .filter(Boolean)
          .join(', '),
      ],
    ].filter(f => f && f[1] !== '' && f[1] !== undefined);
    return el(
      'div',
      null,
      facts(list),
      data.scenarioFile ? fold('scenario.yaml, as resolved', () => el('pre', { tabindex: '0' }, data.scenarioFile)) : null,
    );
  }

  return { connect, faults, generator, scenario };
})();
