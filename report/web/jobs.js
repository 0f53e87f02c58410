// The jobs of a run: a tab each, with its curves and its tables.
const jobs = (() => {
  'use strict';
  const { el, table } = dom;

  function all(data) {
    const s = data.summary;
    if (!s.jobs.length) return null;
    return dom.tabs(
      'Jobs',
      s.jobs.map((j, i) => ({ name: j.name, panel: () => job(data, j, data.jobs[i]) })),
    );
  }

  function job(data, j, detail) {
    return el(
      'div',
      { class: 'job' },
      el(
        'p',
        { class: 'facts' },
        [j.type, `via ${j.via}`, format.plural(j.repetitions, 'repetition'), `where ${j.queryCondition}`].join(' · '),
      ),
      el('div', { class: 'pair' }, completion(j, detail), spectrum(j, detail)),
      latencies(j),
      el('div', { class: 'pair' }, overTime(data, j, detail.seconds), throughput(data, j, detail.seconds)),
      el('div', { class: 'pair' }, groups(j), slowest(j)),
    );
  }

  function completion(j, detail) {
    const all = detail.curves;
    if (!all.length || !all.some(c => c.n.length)) return null;
    const series = all.map((c, i) => ({
      label: all.length === 1 ? 'targets done' : `repetition ${c.number}`,
      color: model.palette(all.length > 8 ? i : c.number - 1), // of few each keeps its own while a run goes on
      stepped: true,
      dash: i >= 8 ? [5, 4] : undefined,
      ...model.curve(c, c.targeted, ended(j, c)),
    }));
    return chart.line({
      title: 'Completion',
      series,
      note: `How much of what was targeted had succeeded, from when it was due.${detail.left ? ` ${format.plural(detail.left, 'repetition')} not drawn: ${j.completion ? 'the first, the last and the slowest are' : 'the last are'}.` : ''}`,
      summary: j.completion
        ? ['p50', 'p90', 'p99', 'p100'].map(p => `${p.slice(1)} %: ${reached(j.completion[p])}`).join(', ')
        : soFar(all[all.length - 1]),
      x: {
        label: 'time since due',
        print: v => format.ticks(v.map(s => (s === null ? null : 1e3 * s))),
        read: s => format.duration(1e3 * s),
      },
      y: { label: 'of targets', print: v => v.map(p => `${p} %`), max: 104, size: 58 },
      read: p => format.percent(p, 100),
      table: () =>
        table(
          'Time from due until so much had succeeded',
          ['repetition', '#targets', '#50 %', '#90 %', '#99 %', '#100 %'],
          [
            ...(j.byRepetition.length ? j.byRepetition : all.map(going))
              .filter(r => r.completion)
              .map(r => [
                r.number,
                format.count(r.targeted),
                ...['p50', 'p90', 'p99', 'p100'].map(p => reached(r.completion[p])),
              ]),
            ...(j.byRepetition.length > 1 && j.completion
              ? [['all', format.count(j.targeted), ...['p50', 'p90', 'p99', 'p100'].map(p => reached(j.completion[p]))]]
              : []),
          ],
        ),
    });
  }

  // going tells of a repetition of a run that goes on what its curve says.
  function going(c) {
    const after = part => c.at[c.n.findIndex(n => n >= part * c.targeted)];
    return { ...c, completion: { p50: after(0.5), p90: after(0.9), p99: after(0.99), p100: after(1) } };
  }

  function soFar(c) {
    const n = c.n[c.n.length - 1] || 0;
    return `Repetition ${c.number}: ${format.percent(n, c.targeted)} of ${format.count(c.targeted)} so far.`;
  }

  // ended is when a repetition's last execution was known, in ms after due.
  function ended(j, c) {
    return j.byRepetition.find(r => r.number === c.number)?.ended;
  }

  function reached(ms) {
    return ms === null || ms === undefined ? 'never' : format.duration(ms);
  }

  function spectrum(j, detail) {
    const colors = { total: '--response', service: '--service', lag: '--lag' };
    const first = model.phases.filter(p => detail.spectra[p.key]);
    if (!first.length) return null;
    const shown = new Set([model.response(detail.spectra), 'service']);
    const series = first.map((p, i) => ({
      label: p.name,
      color: colors[p.key] || model.palette(i),
      x: detail.spectra[p.key].x,
      y: detail.spectra[p.key].v.map(v => (v > 0 ? v : null)),
      off: !shown.has(p.key),
      width: shown.has(p.key) ? 2.25 : 1.5,
    }));
    return chart.line({
      title: 'Latency by percentile',
      series,
      note: 'Response counts from due, service from dispatch: what lies between them is the wait for a turn.',
      summary:
        first
          .filter(p => shown.has(p.key))
          .map(p => `${p.name} p99 ${format.duration(j.phases[p.key]?.p99)}`)
          .join(', ') + '.',
      x: chart.axes.quantile,
      y: chart.axes.latency('latency (logarithmic)', true),
      read: format.duration,
      table: () => phaseTable(j),
    });
  }

  function phaseTable(j) {
    return table(
      'All phases',
      ['phase', 'from … to', '#count', '#min', '#mean', ...model.statistics.map(([, head]) => `#${head}`)],
      model.phases
        .filter(p => j.phases[p.key])
        .map(p => {
          const st = j.phases[p.key];
          return [
            p.name + (st.clock ? ' †' : ''),
            p.what,
            format.count(st.count),
            format.duration(st.min),
            format.duration(st.mean),
            ...model.statistics.map(([k]) => format.duration(st[k])),
          ];
        })
        .concat(
          Object.values(j.phases).some(st => st.clock)
            ? [['†', 'one end is a row time of the hub', '', '', '', '', '', '', '', '']]
            : [],
        ),
    );
  }

  // latencies has both latencies and the lag between them side by side.
  function latencies(j) {
    const shown = [
      [model.response(j.phases), 'response, from due'],
      ['service', 'service, from dispatch'],
      ['lag', 'lag, due to dispatch'],
    ].filter(([p]) => j.phases[p]);
    if (!shown.length) return null;
    return table(
      'Both latencies, and the lag between them',
      ['percentile', ...shown.map(([p, head]) => '#' + (head + (j.phases[p].clock ? ' †' : '')))],
      [
        ...model.statistics.map(([k, name]) => [name, ...shown.map(([p]) => format.duration(j.phases[p][k]))]),
        ['count', ...shown.map(([p]) => format.count(j.phases[p].count))],
      ],
    );
  }

  function overTime(data, j, w) {
    if (!w) return null;
    const line = (label, color, us, more) => ({ label, color, x: w.at, y: model.column(us), points: true, ...more });
    const series = [
      line('response p50', '--response', w.response.p50, { dash: [2, 3] }),
      line('response p99', '--response', w.response.p99, { width: 2.25 }),
      line('response max', '--response', w.response.max, { off: true, dash: [6, 4] }),
      line('service p50', '--service', w.service.p50, { dash: [2, 3] }),
      line('service p99', '--service', w.service.p99, { width: 2.25 }),
      line('service max', '--service', w.service.max, { off: true, dash: [6, 4] }),
    ]
      .map(gaps(w))
      .filter(s => s.y.some(v => v !== null));
    return chart.line({
      title: 'Latency over time',
      note: `Of what ended in each ${second(w.each)}.`,
      summary: `p99 over the whole run: response ${format.duration(j.phases[w.phase].p99)}, service ${format.duration(j.phases.service?.p99)}.`,
      series,
      bands: model.faultBands(data.summary),
      x: chart.axes.time,
      y: chart.axes.latency('latency (logarithmic)', true),
      read: format.duration,
      table: () =>
        table(
          'Latency over time',
          ['time', ...series.map(s => `#${s.label}`)],
          w.at.map(at => [format.seconds(at), ...series.map(s => format.duration(chart.value({ ...s, stepped: true }, at)))]),
        ),
    });
  }

  function second(n) {
    return n === 1 ? 'second' : `${n} seconds`;
  }

  // gaps breaks a line where seconds went by in which nothing ended.
  function gaps(w) {
    return s => {
      const x = [],
        y = [];
      s.x.forEach((at, i) => {
        if (i > 0 && at - s.x[i - 1] > w.each) {
          x.push(s.x[i - 1] + w.each);
          y.push(null);
        }
        x.push(at);
        y.push(s.y[i]);
      });
      return { ...s, x, y };
    };
  }

  function throughput(data, j, w) {
    if (!w) return null;
    // A second in which nothing ended is a zero here, not a gap.
    const x = [],
      ok = [],
      other = [];
    const put = (at, a, b) => {
      x.push(at);
      ok.push(a / w.each);
      other.push(b / w.each);
    };
    w.at.forEach((at, i) => {
      if (i === 0) put(at - w.each, 0, 0);
      else if (at - w.at[i - 1] > w.each) {
        put(w.at[i - 1] + w.each, 0, 0);
        if (at - w.at[i - 1] > 2 * w.each) put(at - w.each, 0, 0);
      }
      put(at, w.succeeded[i], w.others[i]);
    });
    put(w.at[w.at.length - 1] + w.each, 0, 0);
    const series = [{ label: 'succeeded', color: '--o-succeeded', x, y: ok, stepped: true, fill: 0.18 }];
    if (w.others.some(n => n > 0))
      series.push({ label: 'ended otherwise', color: '--o-failed', x, y: other, stepped: true, fill: 0.18 });
    return chart.line({
      title: 'Throughput over time',
      note: 'Executions that ended, a second.',
      summary: `At most ${format.count(Math.max(...ok.map((n, i) => n + other[i])))}/s.`,
      series,
      bands: model.faultBands(data.summary),
      x: chart.axes.time,
      y: chart.axes.count('executions a second'),
      read: v => `${format.count(v)}/s`,
      table: () =>
        table(
          'Throughput over time',
          ['time', '#succeeded', '#ended otherwise'],
          w.at.map((at, i) => [format.seconds(at), format.count(w.succeeded[i]), format.count(w.others[i])]),
        ),
    });
  }

  function groups(j) {
    if (!j.groups) return null;
    const p = model.response(j.phases);
    return table(
      'Groups apart',
      ['group', '#targeted', '#succeeded', '#response p50', '#p99', '#max', '#service p99'],
      j.groups.map(g => [
        g.name,
        format.count(g.targeted),
        format.percent(g.outcomes.succeeded || 0, g.targeted),
        ...['p50', 'p99', 'max'].map(k => format.duration(g.phases[p]?.[k])),
        format.duration(g.phases.service?.p99),
      ]),
    );
  }

  function slowest(j) {
    if (!j.slowest) return null;
    return table(
      'Slowest devices',
      ['device', 'group', '#longest response', '#in repetition', '#longest service'],
      j.slowest.map(d => [d.id, d.group, format.duration(d.max), d.repetition, format.duration(d.service)]),
    );
  }

  return { all, job };
})();
