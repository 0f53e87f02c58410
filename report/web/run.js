// The page of one run, section by section.
const run = (() => {
  'use strict';
  const { el, table, fold } = dom;

  let bands = []; // when faults were on, for every chart over time

  // page returns the sections as [{id, name, node}].
  function page(data) {
    const s = data.summary;
    bands = faultBands(s);
    return [
      { id: 'thresholds', name: 'Verdict', node: verdict(s) },
      { id: 'schedule', name: 'Schedule', node: schedule(data) },
      { id: 'ledger', name: 'Ledger', node: ledger(s) },
      { id: 'jobs', name: 'Jobs', node: jobs(data) },
      { id: 'devices', name: 'Devices', node: devices(data) },
      { id: 'connect', name: 'Connect', node: connect(data) },
      { id: 'faults', name: 'Faults', node: faults(s) },
      { id: 'generator', name: 'Generator', node: generator(data) },
      { id: 'scenario', name: 'Scenario', node: scenario(data) },
    ].filter(section => section.node);
  }

  // --- verdict ---

  function verdict(s) {
    return el('div', null, tiles(s), thresholds(s.thresholds), warnings(s));
  }

  function tile(label, value, note, state) {
    return el('div', { class: `tile ${state || ''}` }, el('span', { class: 'label' }, label), el('strong', null, value), el('span', { class: 'note' }, note));
  }

  function tiles(s) {
    const sum = f => s.jobs.reduce((n, j) => n + f(j), 0);
    const targeted = sum(j => j.targeted), succeeded = sum(j => j.succeeded);
    const all = [
      tile('Devices connected', format.count(s.fleet.connected), `of ${format.count(s.fleet.devices)}` + (s.fleet.connect ? ` · p99 ${format.duration(s.fleet.connect.p99)}` : ''), s.fleet.failed ? 'bad' : ''),
      tile('Executions succeeded', format.percent(succeeded, targeted), `${format.count(succeeded)} of ${format.count(targeted)}`, succeeded < targeted ? 'bad' : ''),
    ];
    const main = s.jobs.reduce((a, j) => !a || j.targeted > a.targeted ? j : a, null);
    if (main) {
      const r = main.phases[model.response(main.phases)], service = main.phases.service;
      if (r) all.push(tile(`Response p99, ${main.name}`, format.duration(r.p99), 'from due' + (service ? ` · service p99 ${format.duration(service.p99)}` : '')));
      const c = main.completion;
      if (c) all.push(tile(`All targets done, ${main.name}`, c.p100 === null ? 'never' : format.duration(c.p100), c.p50 === null ? 'not even half' : `half of them after ${format.duration(c.p50)}`, c.p100 === null ? 'bad' : ''));
    }
    const off = s.jobs.map(j => j.startError).filter(Boolean).map(e => e.max);
    if (off.length) all.push(tile('Jobs began', `± ${format.duration(Math.max(...off))}`, 'from when they were asked to, at most'));
    const g = s.generator;
    all.push(tile('Generator', g.valid ? 'kept up' : 'saturated', g.wake ? `wake p99 ${format.duration(g.wake.p99)} over the whole run` : 'no wake recorded', g.valid ? '' : 'bad'));
    return el('div', { class: 'tiles' }, all);
  }

  function thresholds(list) {
    if (!list.length) return el('p', { class: 'note' }, 'The scenario has no thresholds: the strictest reading decides.');
    return table('Thresholds', [{ head: 'threshold' }, { head: 'result' }, { head: 'measured' }],
      list.map(t => ({
        class: t.ok ? '' : 'failed',
        cells: [el('code', null, t.expression), t.ok ? { text: '✓ held', class: 'good' } : { text: t.noData ? '✗ no data' : '✗ failed', class: 'bad' }, [t.measured || '–', t.note && ` (${t.note})`].filter(Boolean).join('')],
      })));
  }

  function warnings(s) {
    const all = [...(s.warnings || []).map(w => [null, w]),
      ...s.jobs.flatMap(j => [...(j.notRun || []), ...(j.ledgerFaults || []), ...(j.warnings || [])].map(w => [j.name, w]))];
    if (!all.length) return null;
    return el('details', { open: all.length <= 3 }, el('summary', null, format.plural(all.length, 'warning')),
      el('ul', { class: 'warnings' }, all.map(([job, w]) => el('li', null, job !== null && el('b', null, `job ${job}: `), w))));
  }

  // --- schedule ---

  function schedule(data) {
    const s = data.summary;
    if (!s.jobs.length) return null;
    const rows = connectBar(data.ramp).concat(faultBars(s), s.jobs.map(j => ({ name: j.name, bars: j.byRepetition.filter(r => r.dueSeconds !== null).map(r => repetitionBar(j, r)) })));
    const late = s.jobs.flatMap(j => j.byRepetition.map(r => startRow(j, r)));
    return el('div', null,
      el('div', { class: 'legend' }, mark('due', 'asked start'), mark('bar', 'first to last dispatch (or receipt)'), mark('whole', 'until the last execution was known')),
      gantt.chart(rows, Math.max(s.durationSeconds, 0.1)),
      fold('Start accuracy, as a table', () => table('Moments after the asked start', [{ head: 'job' }, { head: 'repetition', num: true }, { head: 'asked start', num: true },
        { head: 'first dispatch', num: true }, { head: 'last dispatch', num: true }, { head: 'first receipt', num: true }, { head: 'last receipt', num: true }, { head: 'ended', num: true }], late)));
  }

  // connectBar is the lane of the connect ramp, from the first that was due to
  // the last that was ready.
  function connectBar({ due, ready }) {
    if (!ready.at.length) return [];
    const from = due.at[0] / 1e3, to = ready.at[ready.at.length - 1] / 1e3;
    return [{ name: '(connect)', bars: [{ due: from, from, to, end: null, title: `connect: ${format.seconds(from)} to ${format.seconds(to)}` }] }];
  }

  function mark(kind, text) { return el('span', { class: 'key' }, el('i', { class: `sample ${kind}`, 'aria-hidden': 'true' }), text); }

  function startRow(j, r) {
    const after = ms => ms === undefined ? '–' : format.signed(ms, format.duration);
    return [j.name, r.number, r.dueSeconds === null ? '–' : format.seconds(r.dueSeconds), after(r.firstDispatched), after(r.lastDispatched),
      after(r.firstReceived), after(r.lastReceived), r.skipped ? 'did not run' : after(r.ended)];
  }

  function repetitionBar(j, r) {
    const place = ms => ms === undefined ? null : r.dueSeconds + ms / 1e3;
    const row = startRow(j, r);
    return {
      due: r.dueSeconds, from: place(r.firstDispatched ?? r.firstReceived), to: place(r.lastDispatched ?? r.lastReceived), end: place(r.ended), skipped: r.skipped,
      title: `${j.name}, repetition ${r.number}: asked for ${row[2]}, first dispatch ${row[3]}, last ${row[4]}, ended ${row[7]}`,
    };
  }

  // --- ledger ---

  function ledger(s) {
    if (!s.jobs.length) return null;
    const others = [['duplicates', 'duplicates'], ['unexpected', 'unexpected'], ['missing', 'missing'], ['extra', 'extra']];
    const seen = model.outcomes.filter(o => s.jobs.some(j => j[o.key] > 0));
    const rows = s.jobs.map(j => [j.name, { text: j.ledgerBalanced ? 'balanced' : '✗ NOT balanced', class: j.ledgerBalanced ? '' : 'bad' }, format.count(j.targeted),
      ...model.outcomes.map(o => ({ text: format.count(j[o.key]), class: o.key !== 'succeeded' && j[o.key] ? 'bad' : '' })), ...others.map(([k]) => format.count(j[k]))]);
    return el('div', null,
      el('div', { class: 'card' }, el('div', { class: 'legend' }, seen.map(o => heatmap.key(`var(${o.color})`, o.name))), s.jobs.map(stack)),
      table('Every execution in exactly one outcome', [{ head: 'job' }, { head: 'ledger' }, { head: 'targeted', num: true },
        ...model.outcomes.map(o => ({ head: o.name, num: true })), ...others.map(([, head]) => ({ head, num: true }))], rows),
      causes(s));
  }

  // stack is a job's outcomes as parts of a bar. What occurred is at least
  // three pixels wide: one failure of a million is to be seen.
  function stack(j) {
    const parts = model.outcomes.filter(o => j[o.key] > 0);
    const text = parts.map(o => `${format.count(j[o.key])} ${o.name}`).join(' · ') || 'targeted no device';
    return el('div', { class: 'lane ledger' }, el('span', { class: 'name', title: j.name }, j.name),
      el('span', { class: 'stack', 'aria-hidden': 'true' }, parts.map(o => el('i', { class: 'part', title: `${format.count(j[o.key])} ${o.name}`, style: { 'flex-grow': String(j[o.key]), background: `var(${o.color})` } }))),
      el('span', { class: 'said' }, text));
  }

  function causes(s) {
    const byOutcome = j => j.causesByOutcome ? model.outcomes.flatMap(o => sorted(j.causesByOutcome[o.key]).map(([why, n]) => [o.name, why, n])) : sorted(j.causes).map(([why, n]) => ['', why, n]);
    const rows = s.jobs.flatMap(j => byOutcome(j).map(([outcome, why, n]) => [j.name, outcome, why || 'no cause given', format.count(n)]));
    return rows.length ? table('Causes of what did not succeed', [{ head: 'job' }, { head: 'outcome' }, { head: 'cause' }, { head: 'executions', num: true }], rows) : null;
  }

  // sorted gives the entries of counts, the largest first.
  function sorted(counts) { return Object.entries(counts || {}).sort((a, b) => b[1] - a[1]); }

  // --- jobs ---

  function jobs(data) {
    const s = data.summary;
    if (!s.jobs.length) return null;
    return dom.tabs('Jobs', s.jobs.map((j, i) => ({ name: j.name, panel: () => job(data, j, data.jobs[i]) })));
  }

  function job(data, j, detail) {
    return el('div', { class: 'job' },
      el('p', { class: 'facts' }, [j.type, `via ${j.via}`, format.plural(j.repetitions, 'repetition'), `where ${j.queryCondition}`].join(' · ')),
      el('div', { class: 'pair' }, completion(j, detail), spectrum(j, detail)),
      latencies(j),
      el('div', { class: 'pair' }, overTime(j, detail.seconds), throughput(j, detail.seconds)),
      el('div', { class: 'pair' }, groups(j), slowest(j)));
  }

  function completion(j, detail) {
    const all = detail.curves;
    if (!all.length || !all.some(c => c.n.length)) return null;
    const series = all.map((c, i) => ({
      label: all.length === 1 ? 'targets done' : `repetition ${c.number}`, color: model.palette(i), stepped: true, dash: i >= 8 ? [5, 4] : undefined,
      ...model.curve(c, c.targeted, ended(j, c)),
    }));
    return chart.line({
      title: 'Completion', series,
      note: `How much of what was targeted had succeeded, from when it was due.${detail.left ? ` ${format.plural(detail.left, 'repetition')} not drawn: the first, the last and the slowest are.` : ''}`,
      summary: ['p50', 'p90', 'p99', 'p100'].map(p => `${p.slice(1)} %: ${reached(j.completion?.[p])}`).join(', '),
      x: { label: 'time since due', print: v => format.ticks(v.map(s => s === null ? null : 1e3 * s)), read: s => format.duration(1e3 * s) },
      y: { label: 'of targets', print: v => v.map(p => `${p} %`), max: 104, size: 58 },
      read: p => format.percent(p, 100),
      table: () => table('Time from due until so much had succeeded', [{ head: 'repetition' }, { head: 'targets', num: true }, { head: '50 %', num: true }, { head: '90 %', num: true }, { head: '99 %', num: true }, { head: '100 %', num: true }],
        [...j.byRepetition.filter(r => r.completion).map(r => [r.number, format.count(r.targeted), ...['p50', 'p90', 'p99', 'p100'].map(p => reached(r.completion[p]))]),
          ...(j.byRepetition.length > 1 && j.completion ? [['all', format.count(j.targeted), ...['p50', 'p90', 'p99', 'p100'].map(p => reached(j.completion[p]))]] : [])]),
    });
  }

  // ended is when a repetition's last execution was known, in ms after due.
  function ended(j, c) { return j.byRepetition.find(r => r.number === c.number)?.ended; }

  function reached(ms) { return ms === null || ms === undefined ? 'never' : format.duration(ms); }

  function spectrum(j, detail) {
    const colors = { total: '--response', service: '--service', lag: '--lag' };
    const first = model.phases.filter(p => detail.spectra[p.key]);
    if (!first.length) return null;
    const shown = new Set([model.response(detail.spectra), 'service']);
    const series = first.map((p, i) => ({
      label: p.name, color: colors[p.key] || model.palette(i), x: detail.spectra[p.key].x, y: detail.spectra[p.key].v.map(v => v > 0 ? v : null), off: !shown.has(p.key), width: shown.has(p.key) ? 2.25 : 1.5,
    }));
    return chart.line({
      title: 'Latency by percentile', series,
      note: 'Response counts from due, service from dispatch: what lies between them is the wait for a turn.',
      summary: first.filter(p => shown.has(p.key)).map(p => `${p.name} p99 ${format.duration(j.phases[p.key]?.p99)}`).join(', ') + '.',
      x: chart.axes.quantile, y: chart.axes.latency('latency (logarithmic)', true), read: format.duration,
      table: () => phaseTable(j),
    });
  }

  function phaseTable(j) {
    return table('All phases', [{ head: 'phase' }, { head: 'from … to' }, { head: 'count', num: true }, { head: 'min', num: true }, { head: 'mean', num: true }, ...model.statistics.map(([, head]) => ({ head, num: true }))],
      model.phases.filter(p => j.phases[p.key]).map(p => {
        const st = j.phases[p.key];
        return [p.name + (st.clock ? ' †' : ''), p.what, format.count(st.count), format.duration(st.min), format.duration(st.mean), ...model.statistics.map(([k]) => format.duration(st[k]))];
      }).concat(Object.values(j.phases).some(st => st.clock) ? [['†', 'one end is a row time of the hub', '', '', '', '', '', '', '', '']] : []));
  }

  // latencies has both latencies and the lag between them side by side.
  function latencies(j) {
    const shown = [[model.response(j.phases), 'response, from due'], ['service', 'service, from dispatch'], ['lag', 'lag, due to dispatch']].filter(([p]) => j.phases[p]);
    if (!shown.length) return null;
    return table('Both latencies, and the lag between them', [{ head: 'percentile' }, ...shown.map(([p, head]) => ({ head: head + (j.phases[p].clock ? ' †' : ''), num: true }))],
      [...model.statistics.map(([k, name]) => [name, ...shown.map(([p]) => format.duration(j.phases[p][k]))]), ['count', ...shown.map(([p]) => format.count(j.phases[p].count))]]);
  }

  function overTime(j, w) {
    if (!w) return null;
    const line = (label, color, us, more) => ({ label, color, x: w.at, y: model.column(us), points: true, ...more });
    const series = [
      line('response p50', '--response', w.response.p50, { dash: [2, 3] }), line('response p99', '--response', w.response.p99, { width: 2.25 }), line('response max', '--response', w.response.max, { off: true, dash: [6, 4] }),
      line('service p50', '--service', w.service.p50, { dash: [2, 3] }), line('service p99', '--service', w.service.p99, { width: 2.25 }), line('service max', '--service', w.service.max, { off: true, dash: [6, 4] }),
    ].map(gaps(w)).filter(s => s.y.some(v => v !== null));
    return chart.line({
      title: 'Latency over time', note: `Of what ended in each ${second(w.each)}.`, series, bands, x: chart.axes.time, y: chart.axes.latency('latency (logarithmic)', true), read: format.duration,
      table: () => table('Latency over time', [{ head: 'time' }, ...series.map(s => ({ head: s.label, num: true }))], w.at.map(at => [format.seconds(at), ...series.map(s => format.duration(chart.value({ ...s, stepped: true }, at)))])),
    });
  }

  function second(n) { return n === 1 ? 'second' : `${n} seconds`; }

  // gaps breaks a line where seconds went by in which nothing ended.
  function gaps(w) {
    return s => {
      const x = [], y = [];
      s.x.forEach((at, i) => {
        if (i > 0 && at - s.x[i - 1] > w.each) { x.push(s.x[i - 1] + w.each); y.push(null); }
        x.push(at); y.push(s.y[i]);
      });
      return { ...s, x, y };
    };
  }

  function throughput(j, w) {
    if (!w) return null;
    // A second in which nothing ended is a zero here, not a gap.
    const x = [], ok = [], other = [];
    const put = (at, a, b) => { x.push(at); ok.push(a / w.each); other.push(b / w.each); };
    w.at.forEach((at, i) => {
      if (i === 0) put(at - w.each, 0, 0);
      else if (at - w.at[i - 1] > w.each) { put(w.at[i - 1] + w.each, 0, 0); if (at - w.at[i - 1] > 2 * w.each) put(at - w.each, 0, 0); }
      put(at, w.succeeded[i], w.others[i]);
    });
    put(w.at[w.at.length - 1] + w.each, 0, 0);
    const series = [{ label: 'succeeded', color: '--o-succeeded', x, y: ok, stepped: true, fill: 0.18 }];
    if (w.others.some(n => n > 0)) series.push({ label: 'ended otherwise', color: '--o-failed', x, y: other, stepped: true, fill: 0.18 });
    return chart.line({
      title: 'Throughput over time', note: 'Executions that ended, a second.', series, bands, x: chart.axes.time, y: chart.axes.count('executions a second'), read: v => `${format.count(v)}/s`,
      table: () => table('Throughput over time', [{ head: 'time' }, { head: 'succeeded', num: true }, { head: 'ended otherwise', num: true }], w.at.map((at, i) => [format.seconds(at), format.count(w.succeeded[i]), format.count(w.others[i])])),
    });
  }

  function groups(j) {
    if (!j.groups) return null;
    const p = model.response(j.phases);
    return table('Groups apart', [{ head: 'group' }, { head: 'targeted', num: true }, { head: 'succeeded', num: true }, { head: 'response p50', num: true }, { head: 'p99', num: true }, { head: 'max', num: true }, { head: 'service p99', num: true }],
      j.groups.map(g => [g.name, format.count(g.targeted), format.percent(g.outcomes.succeeded || 0, g.targeted), ...['p50', 'p99', 'max'].map(k => format.duration(g.phases[p]?.[k])), format.duration(g.phases.service?.p99)]));
  }

  function slowest(j) {
    if (!j.slowest) return null;
    return table('Slowest devices', [{ head: 'device' }, { head: 'group' }, { head: 'longest response', num: true }, { head: 'in repetition', num: true }, { head: 'longest service', num: true }],
      j.slowest.map(d => [d.id, d.group, format.duration(d.max), d.repetition, format.duration(d.service)]));
  }

  // --- devices ---

  function devices(data) {
    const d = data.devices;
    if (!d || !d.ids.length) return null;
    const views = data.summary.jobs.flatMap((j, i) => jobViews(j, d.jobs[i], d.ids.length)).sort((a, b) => b.of - a.of);
    const connects = d.connect.map(us => us < 0 ? null : us / 1e3);
    views.push({ name: 'connect latency', value: i => connects[i], print: format.duration, scale: 'log' });
    if (d.returns.some(n => n > 0)) views.push({ name: 'times it came back', value: i => d.returns[i], print: format.count, scale: 'linear' });
    return heatmap.map({ n: d.ids.length, views, name: i => d.ids[i], describe: describer(data) });
  }

  // jobViews are the maps of one job.
  function jobViews(j, d, n) {
    const at = places(d, n);
    const ms = column => i => { const k = at(i); return k < 0 || column[k] < 0 ? null : column[k] / 1e3; };
    const views = [];
    if (d.max.some(v => v >= 0)) views.push({ of: j.targeted, name: `${j.name}: longest response`, value: ms(d.max), print: format.duration, scale: 'log' });
    if (d.median.some(v => v >= 0) && j.byRepetition.length > 1) views.push({ of: j.targeted, name: `${j.name}: median response`, value: ms(d.median), print: format.duration, scale: 'log' });
    if (d.service.some(v => v >= 0)) views.push({ of: j.targeted, name: `${j.name}: longest service`, value: ms(d.service), print: format.duration, scale: 'log' });
    const worst = d.max.map((_, k) => { let w = -1; model.outcomes.forEach((o, c) => { if (d.outcomes[o.key]?.[k]) w = c; }); return w; });
    views.push({ of: j.targeted, name: `${j.name}: worst outcome`, classes: model.outcomes, class: i => { const k = at(i); return k < 0 ? -1 : worst[k]; } });
    return views;
  }

  // places finds a device's place in the columns of a job.
  function places(d, n) {
    if (!d.devices) return d.max.length ? i => i : () => -1;
    const at = new Int32Array(n).fill(-1);
    d.devices.forEach((device, k) => { at[device] = k; });
    return i => at[i];
  }

  // describer says of a device what is known: its name, its group, and what it
  // had of each job.
  function describer(data) {
    const { summary: s, devices: d, run } = data;
    const at = d.jobs.map(j => places(j, d.ids.length));
    return i => [d.ids[i], ...(run.groups.length > 1 && d.group[i] >= 0 ? [`group ${run.groups[d.group[i]].name}`] : []),
      ...s.jobs.flatMap((j, n) => {
        const k = at[n](i);
        if (k < 0) return [];
        const c = d.jobs[n];
        const ends = model.outcomes.filter(o => c.outcomes[o.key]?.[k]).map(o => `${o.name} ${c.outcomes[o.key][k]}`).join(', ');
        return [`${j.name}: ${ends}` + (c.max[k] < 0 ? '' : `, response up to ${format.duration(c.max[k] / 1e3)}`) + (c.service[k] < 0 ? '' : `, service up to ${format.duration(c.service[k] / 1e3)}`)];
      }),
      d.connect[i] < 0 ? 'never connected' : `connected in ${format.duration(d.connect[i] / 1e3)}` + (d.returns[i] ? `, came back ${format.plural(d.returns[i], 'time')}` : '')];
  }

  // --- connect ---

  function connect(data) {
    const f = data.summary.fleet, { due, ready } = data.ramp;
    const errors = [['attempt to connect', f.errors], ['of them, to come back', f.reconnectErrors], ['connection lost', f.lostBy]]
      .flatMap(([what, m]) => sorted(m).map(([why, n]) => [what, why || 'no cause given', format.count(n)]));
    const series = [['were due', due, '--lag', [4, 3]], ['were ready', ready, '--response', undefined]].filter(([, c]) => c.at.length)
      .map(([label, c, color, dash]) => ({ label, color, dash, stepped: true, x: [Math.min(0, c.at[0] / 1e3), ...c.at.map(ms => ms / 1e3)], y: [0, ...c.n] }));
    return el('div', null,
      series.length ? chart.line({
        title: 'Connect ramp', note: 'Devices that were due to connect for the first time, and those that were ready: subscribed, twin read. The distance between the lines is how long they took.',
        summary: `${format.count(f.connected)} of ${format.count(f.devices)} devices connected, p99 ${format.duration(f.connect?.p99)}.`,
        series, bands, x: chart.axes.time, y: chart.axes.count('devices'), read: format.count,
        table: () => table('Connect latency', [{ head: 'devices' }, { head: 'connected', num: true }, { head: 'failed', num: true }, { head: 'came back', num: true }, ...model.statistics.map(([, head]) => ({ head, num: true }))],
          [[format.count(f.devices), format.count(f.connected), format.count(f.failed), format.count(f.reconnects), ...model.statistics.map(([k]) => format.duration(f.connect?.[k]))]]),
      }) : el('p', { class: 'note' }, 'No device connected.'),
      errors.length ? table('Attempts that failed, and connections lost', [{ head: 'what' }, { head: 'cause' }, { head: 'how often', num: true }], errors) : null);
  }

  // --- faults on purpose ---

  function faults(s) {
    if (!s.faults?.length) return null;
    return el('div', null, el('p', { class: 'note' }, 'Faults on purpose, as the scenario has them. Charts over time are shaded while one was on.'),
      table('Faults', [{ head: 'fault' }, { head: 'asked for' }, { head: 'begun', num: true }, { head: 'lasted', num: true }, { head: 'struck', num: true }, { head: 'error' }],
        s.faults.map(f => [f.what, f.at, f.begun == null ? 'did not begin' : format.seconds(f.begun / 1e3), f.lasted == null ? '–' : format.duration(f.lasted), format.count(f.struck), f.error || ''])));
  }

  function faultBands(s) {
    return (s.faults || []).filter(f => f.begun != null).map(f => ({ from: f.begun / 1e3, to: f.lasted == null ? s.durationSeconds : (f.begun + f.lasted) / 1e3 }));
  }

  function faultBars(s) {
    return (s.faults || []).filter(f => f.begun != null).map(f => ({
      name: `fault: ${f.what}`, bars: [{ due: null, from: f.begun / 1e3, to: f.lasted == null ? s.durationSeconds : (f.begun + f.lasted) / 1e3, end: null, fault: true, title: `${f.what}, ${f.at}` }],
    }));
  }

  // --- generator ---

  function generator(data) {
    const h = data.health, hub = data.hub, g = data.summary.generator;
    const judged = data.summary.jobs.filter(j => j.wake);
    const each = h.each > 1 ? ` Each point is the worst of ${h.each} records.` : '';
    const line = (label, color, x, y, more) => ({ label, color, x, y, ...more });
    const delays = [line('wake p99', '--response', h.at, model.column(h.wakeP99 || []), { width: 2.25 }), line('wake max', '--response', h.at, model.column(h.wakeMax || []), { dash: [2, 3] }),
      line('timer late, max', '--lag', h.at, model.column(h.late || [])), line('GC pause p99 so far', '--service', h.at, model.column(h.gc || []))];
    const zeros = s => ({ ...s, y: s.y.map(v => v > 0 ? v : null) }); // a logarithmic axis has no zero
    const hubAt = hub.at || [], withCPU = (hub.cpu || []).some(v => v > 0);
    return el('div', null,
      g.reasons.length ? el('ul', { class: 'warnings' }, g.reasons.map(r => el('li', null, r))) : null,
      h.at ? el('div', { class: 'pair' },
        chart.line({ title: 'Delays of the generator itself', note: `A message to itself each millisecond, its timer, and its garbage collector.${each}`, series: delays.map(zeros), bands, x: chart.axes.time, y: chart.axes.latency('delay (logarithmic)', true), read: format.duration, table: () => healthTable(h) }),
        chart.line({
          title: 'Processors in use', note: `Of ${data.run.host.cpus} that the host has.`, read: v => v.toFixed(2), bands, x: chart.axes.time, y: { label: 'processors', print: v => v.map(format.trim), size: 50 },
          series: [line('generator', '--response', h.at, h.cpu, { stepped: false }), ...(withCPU ? [line('hub', '--service', hubAt, hub.cpu)] : [])],
          table: () => healthTable(h),
        }),
        chart.line({
          title: 'Memory', note: 'Resident.', read: n => format.bytes(n * (1 << 20)), bands, x: chart.axes.time, y: { label: 'MiB', print: v => v.map(n => n === null ? '' : format.count(n)), size: 58 },
          series: [line('generator', '--response', h.at, mib(h.rss)), ...((hub.rss || []).some(v => v > 0) ? [line('hub', '--service', hubAt, mib(hub.rss))] : [])], table: () => healthTable(h),
        }),
        chart.line({
          title: 'Descriptors, goroutines, connections', note: 'Of the generator; connections as the hub counts them.', read: format.count, bands, x: chart.axes.time, y: chart.axes.count('how many'),
          series: [line('goroutines', '--s4', h.at, h.goroutines), line('descriptors', '--response', h.at, h.descriptors), ...(hubAt.length ? [line('connections of the hub', '--service', hubAt, hub.connections)] : [])], table: () => healthTable(h),
        })) : el('p', { class: 'note' }, 'The generator recorded nothing of itself.'),
      judged.length ? table('Wakes while a job’s executions were on their way', [{ head: 'job' }, { head: 'wakes', num: true }, { head: 'p99', num: true }, { head: 'max', num: true }, { head: 'limit of p99', num: true }, { head: 'judgement' }],
        judged.map(j => [j.name, format.count(j.wake.count), format.duration(j.wake.p99), format.duration(j.wake.max), format.duration(j.wake.limit), j.wake.p99 > j.wake.limit ? { text: '✗ above it', class: 'bad' } : { text: '✓ below it', class: 'good' }])) : null);
  }

  function mib(bytes) { return bytes.map(n => n / (1 << 20)); }

  function healthTable(h) {
    return table('The generator over time', [{ head: 'time' }, { head: 'wake p99', num: true }, { head: 'wake max', num: true }, { head: 'timer late', num: true }, { head: 'GC pause p99', num: true }, { head: 'processors', num: true }, { head: 'memory', num: true }, { head: 'goroutines', num: true }, { head: 'descriptors', num: true }],
      h.at.map((at, i) => [format.seconds(at), ...[h.wakeP99, h.wakeMax, h.late, h.gc].map(c => c[i] < 0 ? '–' : format.duration(c[i] / 1e3)), h.cpu[i].toFixed(2), format.bytes(h.rss[i]), format.count(h.goroutines[i]), format.count(h.descriptors[i])]));
  }

  // --- scenario and host ---

  function scenario(data) {
    const { summary: s, run } = data, h = run.host, t = run.target;
    const facts = [
      ['target', [t.kind, t.transport && `over ${t.transport}`, t.hostName, t.tier && `tier ${t.tier}, ${format.plural(t.units, 'unit')}`, t.jobRate && `job rate ${format.count(t.jobRate)}/s`].filter(Boolean).join(', ')],
      ['fleet', run.groups.map(g => `${g.name} ${format.count(g.devices)}`).join(', ')], ['driver', run.driver], ['seed', run.seed], ['started', format.date(s.startedAt)], ['lasted', format.seconds(s.durationSeconds)],
      ['muster', [s.musterVersion, run.goVersion].filter(Boolean).join(', ')], ['host', [h.os, h.arch, h.kernel].filter(Boolean).join(' ') + `, ${format.plural(h.cpus, 'processor')}, ${format.bytes(h.memoryBytes)}`],
      ['limits', `${format.count(run.limits.descriptors)} descriptors, ${format.count(run.limits.ports)} ports`], ['arguments', (run.args || []).join(' ')],
      s.hub && ['hub', [s.hub.cpuSeconds && `${format.significant(s.hub.cpuSeconds)} s of CPU`, s.hub.maxRSSBytes && `${format.bytes(s.hub.maxRSSBytes)} at most`, `${format.plural(s.hub.connections, 'connection')} at most`].filter(Boolean).join(', ')],
    ].filter(f => f && f[1] !== '' && f[1] !== undefined);
    return el('div', null,
      el('dl', { class: 'facts' }, facts.map(([k, v]) => el('div', null, el('dt', null, k), el('dd', null, v)))),
      data.scenarioFile ? fold('scenario.yaml, as resolved', () => el('pre', { tabindex: '0' }, data.scenarioFile)) : null);
  }

  return { page, phaseTable };
})();
