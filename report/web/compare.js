// The page that lays runs over each other. It is a picture and no verdict: the
// executions of one run are not independent of each other, so that two runs of
// the same build differ as well.
const compare = (() => {
  'use strict';
  const { el, table } = dom;
  const letter = i => String.fromCharCode(65 + (i % 26)) + (i >= 26 ? Math.floor(i / 26) : '');

  function page({ runs }) {
    const names = [...new Set(runs.flatMap(r => r.summary.jobs.map(j => j.name)))];
    return [
      { id: 'runs', name: 'Runs', node: overview(runs) },
      {
        id: 'jobs',
        name: 'Jobs',
        node: names.length
          ? dom.tabs(
              'Jobs',
              names.map(name => ({ name, panel: () => job(runs, name) })),
            )
          : null,
      },
    ].filter(s => s.node);
  }

  function overview(runs) {
    const unlike = differences(runs);
    return el(
      'div',
      null,
      el('p', null, 'Differences are against run A. This page shows them; whether they are more than noise it does not judge.'),
      unlike.length
        ? el(
            'ul',
            { class: 'warnings' },
            unlike.map(text => el('li', null, text)),
          )
        : null,
      table(
        'Runs',
        ['run', 'folder', 'scenario', 'verdict', 'started', 'muster', '#devices', '#connect p99', '#generator wake p99'],
        runs.map((r, i) => {
          const s = r.summary;
          return [
            el('span', null, chart.swatch({ color: model.palette(i) }), letter(i)),
            r.label,
            s.scenario,
            { text: s.verdict, class: s.verdict === 'pass' ? 'good' : 'bad' },
            format.date(s.startedAt),
            s.musterVersion,
            format.count(s.fleet.devices),
            format.duration(s.fleet.connect?.p99),
            format.duration(s.generator.wake?.p99),
          ];
        }),
      ),
    );
  }

  // differences names what is not the same in all runs, so that what follows
  // may not be due to the builds.
  function differences(runs) {
    const host = r =>
      [r.run.host.os, r.run.host.arch, r.run.host.kernel, format.plural(r.run.host.cpus, 'processor')].filter(Boolean).join(' ');
    const what = {
      scenario: r => r.summary.scenario,
      'number of devices': r => format.count(r.summary.fleet.devices),
      seed: r => r.summary.seed,
      target: r => [r.run.target.kind, r.run.target.transport, r.run.target.jobRate].filter(Boolean).join(' '),
      driver: r => r.summary.driver,
      host,
      'way of a job': r => r.summary.jobs.map(j => `${j.name} via ${j.via}`).join(', '),
    };
    return Object.entries(what).flatMap(([name, of]) => {
      const values = runs.map(r => String(of(r)));
      return new Set(values).size > 1 ? [`The ${name} differs: ${values.map((v, i) => `${letter(i)} ${v}`).join('; ')}`] : [];
    });
  }

  // job shows a job of all runs that have it: [{i, job, detail}].
  function job(runs, name) {
    const all = runs
      .map((r, i) => {
        const n = r.summary.jobs.findIndex(j => j.name === name);
        return n < 0 ? null : { i, job: r.summary.jobs[n], detail: r.jobs[n] };
      })
      .filter(Boolean);
    return el(
      'div',
      { class: 'job' },
      el('div', { class: 'pair' }, completion(all), spectra(all), shift(all, 'total'), shift(all, 'service')),
      deltas(all),
      outcomes(all),
    );
  }

  function completion(all) {
    const series = all.flatMap(({ i, detail }) =>
      detail.curves.map((c, k) => ({
        label: detail.curves.length > 1 ? `${letter(i)}, repetition ${c.number}` : `run ${letter(i)}`,
        color: model.palette(i),
        stepped: true,
        dash: k === 0 ? undefined : [2 + k, 2],
        width: 1.5,
        ...model.curve(c, c.targeted),
      })),
    );
    if (!series.length) return null;
    return chart.line({
      title: 'Completion',
      note: 'How much of what was targeted had succeeded, from when it was due; a line each repetition.',
      series,
      x: {
        label: 'time since due',
        print: v => format.ticks(v.map(s => (s === null ? null : 1e3 * s))),
        read: s => format.duration(1e3 * s),
      },
      y: { label: 'of targets', print: v => v.map(p => `${p} %`), max: 104 },
      read: p => format.percent(p, 100),
      table: () =>
        table(
          'Time from due until so much had succeeded',
          ['run', ...['50 %', '90 %', '99 %', '100 %'].map(head => `#${head}`)],
          all.map(({ i, job: j }) => [
            letter(i),
            ...['p50', 'p90', 'p99', 'p100'].map(p => (j.completion?.[p] == null ? 'never' : format.duration(j.completion[p]))),
          ]),
        ),
    });
  }

  function spectra(all) {
    const series = all.flatMap(({ i, detail }) =>
      [
        [model.response(detail.spectra), 'response', undefined],
        ['service', 'service', [5, 4]],
      ]
        .filter(([p]) => detail.spectra[p])
        .map(([p, name, dash]) => ({
          label: `${letter(i)} ${name}`,
          color: model.palette(i),
          dash,
          width: 2,
          x: detail.spectra[p].x,
          y: detail.spectra[p].v.map(v => (v > 0 ? v : null)),
        })),
    );
    if (!series.length) return null;
    return chart.line({
      title: 'Latency by percentile',
      note: 'Response from due, service (dashed) from dispatch.',
      series,
      x: chart.axes.quantile,
      y: chart.axes.latency('latency (logarithmic)', true),
      read: format.duration,
    });
  }

  // shift shows by how much each percentile of a run differs from run A's.
  function shift(all, phase) {
    const pick = one => one.detail.spectra[phase === 'total' ? model.response(one.detail.spectra) : phase];
    const base = all[0] && pick(all[0]);
    if (!base || all.length < 2) return null;
    const series = all
      .slice(1)
      .filter(pick)
      .map(one => {
        const s = pick(one),
          x = base.x.filter(at => at <= s.x[s.x.length - 1]);
        return {
          label: `${letter(one.i)} against ${letter(all[0].i)}`,
          color: model.palette(one.i),
          width: 2,
          x,
          y: x.map((at, i) => 100 * (between(s, at) / base.v[i] - 1)),
        };
      });
    if (!series.length) return null;
    series.unshift({
      label: 'no change',
      color: '--ink-2',
      dash: [2, 4],
      width: 1,
      x: [0, base.x[base.x.length - 1]],
      y: [0, 0],
    });
    return chart.line({
      title: `Shift of ${phase === 'total' ? 'response' : phase} by percentile`,
      note: 'Above the line slower, below it faster.',
      series,
      x: chart.axes.quantile,
      y: { label: 'change', print: v => v.map(p => `${p > 0 ? '+' : ''}${format.trim(p)} %`), size: 70, around: true },
      read: p => format.signed(p, v => `${v.toFixed(1)}\u00a0%`),
      table: () =>
        table(
          'Shift',
          ['percentile', ...series.slice(1).map(s => `#${s.label}`)],
          [Math.log10(2), 1, 2, 3]
            .filter(x => x <= base.x[base.x.length - 1])
            .map(x => [
              format.quantile(x),
              ...series.slice(1).map(s => format.signed(chart.value(s, x), v => `${v.toFixed(1)}\u00a0%`)),
            ]),
        ),
    });
  }

  // between reads a spectrum between two of its points.
  function between(s, at) {
    const i = chart.indexAt(s.x, at, true);
    if (i < 0 || i + 1 >= s.x.length || s.x[i + 1] === s.x[i]) return s.v[Math.max(i, 0)];
    return s.v[i] + ((s.v[i + 1] - s.v[i]) * (at - s.x[i])) / (s.x[i + 1] - s.x[i]);
  }

  function deltas(all) {
    const base = all[0].job;
    const rows = model.phases.flatMap(p =>
      all
        .filter(({ job: j }) => j.phases[p.key])
        .map(({ i, job: j }) => {
          const st = j.phases[p.key],
            was = base.phases[p.key];
          return [
            `${p.name} ${letter(i)}`,
            format.count(st.count),
            ...model.statistics.map(([k]) =>
              el(
                'span',
                null,
                format.duration(st[k]),
                j !== base &&
                  was &&
                  was[k] > 0 &&
                  el('small', null, ` ${format.signed(100 * (st[k] / was[k] - 1), v => `${v.toFixed(1)}\u00a0%`)}`),
              ),
            ),
          ];
        }),
    );
    return table(
      'Phases, with the change against the first run',
      ['phase and run', '#count', ...model.statistics.map(([, head]) => `#${head}`)],
      rows,
    );
  }

  function outcomes(all) {
    return table(
      'Outcomes',
      ['run', 'ledger', '#targeted', ...model.outcomes.map(o => `#${o.name}`), '#start off by'],
      all.map(({ i, job: j }) => [
        letter(i),
        j.ledgerBalanced ? 'balanced' : { text: '✗ NOT balanced', class: 'bad' },
        format.count(j.targeted),
        ...model.outcomes.map(o => format.count(j[o.key])),
        format.duration(j.startError?.max),
      ]),
    );
  }

  return { page };
})();
