// The top of a run's page: the verdict and what it rests on, the schedule, the
// ledger.
const overview = (() => {
  'use strict';
  const { el, table, fold } = dom;

  // --- verdict ---

  function verdict(s) {
    return el('div', null, tiles(s), thresholds(s.thresholds), warnings(s));
  }

  function tile(label, value, note, state) {
    return el(
      'div',
      { class: `tile ${state || ''}` },
      el('span', { class: 'label' }, label),
      el('strong', null, value),
      el('span', { class: 'note' }, note),
    );
  }

  function tiles(s) {
    const sum = f => s.jobs.reduce((n, j) => n + f(j), 0);
    const targeted = sum(j => j.targeted),
      succeeded = sum(j => j.succeeded);
    const all = [
      tile(
        'Devices connected',
        format.count(s.fleet.connected),
        `of ${format.count(s.fleet.devices)}` + (s.fleet.connect ? ` · p99 ${format.duration(s.fleet.connect.p99)}` : ''),
        s.fleet.failed ? 'bad' : '',
      ),
      tile(
        'Executions succeeded',
        format.percent(succeeded, targeted),
        `${format.count(succeeded)} of ${format.count(targeted)}`,
        succeeded < targeted && s.verdict !== 'pass' ? 'bad' : '',
      ),
    ];
    const main = s.jobs.reduce((a, j) => (!a || j.targeted > a.targeted ? j : a), null);
    if (main) {
      const r = main.phases[model.response(main.phases)],
        service = main.phases.service;
      if (r)
        all.push(
          tile(
            `Response p99, ${main.name}`,
            format.duration(r.p99),
            'from due' + (service ? ` · service p99 ${format.duration(service.p99)}` : ''),
          ),
        );
      const c = main.completion;
      if (c)
        all.push(
          tile(
            `All targets done, ${main.name}`,
            c.p100 === null ? 'never' : format.duration(c.p100),
            c.p50 === null ? 'not even half' : `half of them after ${format.duration(c.p50)}`,
            c.p100 === null && s.verdict !== 'pass' ? 'bad' : '',
          ),
        );
    }
    const off = s.jobs
      .map(j => j.startError)
      .filter(Boolean)
      .map(e => e.max);
    if (off.length)
      all.push(tile('Jobs began', `± ${format.duration(Math.max(...off))}`, 'from when they were asked to, at most'));
    const g = s.generator;
    all.push(
      tile(
        'Generator',
        g.valid ? 'kept up' : 'saturated',
        g.wake ? `wake p99 ${format.duration(g.wake.p99)} over the whole run` : 'no wake recorded',
        g.valid ? '' : 'bad',
      ),
    );
    return el('div', { class: 'tiles' }, all);
  }

  function thresholds(list) {
    if (!list.length) return el('p', { class: 'note' }, 'The scenario has no thresholds: the strictest reading decides.');
    return table(
      'Thresholds',
      ['threshold', 'result', 'measured'],
      list.map(t => ({
        class: t.ok ? '' : 'failed',
        cells: [
          el('code', null, t.expression),
          t.ok ? { text: '✓\u00a0held', class: 'good' } : { text: t.noData ? '✗\u00a0no data' : '✗\u00a0failed', class: 'bad' },
          [t.measured || '–', t.note && ` (${t.note})`].filter(Boolean).join(''),
        ],
      })),
      { class: 'thresholds' },
    );
  }

  function warnings(s) {
    const all = [
      ...(s.warnings || []).map(w => [null, w]),
      ...s.jobs.flatMap(j => [...(j.notRun || []), ...(j.ledgerFaults || []), ...(j.warnings || [])].map(w => [j.name, w])),
    ];
    if (!all.length) return null;
    return el(
      'details',
      { open: all.length <= 3 },
      el('summary', null, format.plural(all.length, 'warning')),
      el(
        'ul',
        { class: 'warnings' },
        all.map(([job, w]) => el('li', null, job !== null && el('b', null, `job ${job}: `), w)),
      ),
    );
  }

  // --- schedule ---

  function schedule(data) {
    const s = data.summary;
    if (!s.jobs.length) return null;
    const rows = connectBar(data.ramp).concat(
      faultBars(s),
      s.jobs.map(j => ({ name: j.name, bars: j.byRepetition.filter(r => r.dueSeconds !== null).map(r => repetitionBar(j, r)) })),
    );
    const late = s.jobs.flatMap(j => j.byRepetition.map(r => startRow(j, r)));
    return el(
      'div',
      null,
      el(
        'div',
        { class: 'legend' },
        mark('due', 'asked start'),
        mark('bar', 'first to last dispatch (or receipt)'),
        mark('whole', 'until the last execution was known'),
      ),
      gantt.chart(rows, Math.max(s.durationSeconds, 0.1)),
      fold('Start accuracy, as a table', () =>
        table(
          'Moments after the asked start',
          [
            'job',
            '#repetition',
            '#asked start',
            '#first dispatch',
            '#last dispatch',
            '#first receipt',
            '#last receipt',
            '#ended',
          ],
          late,
        ),
      ),
    );
  }

  // connectBar is the lane of the connect ramp, from the first that was due to
  // the last that was ready.
  function connectBar({ due, ready }) {
    if (!ready.at.length) return [];
    const from = due.at[0] / 1e3,
      to = ready.at[ready.at.length - 1] / 1e3;
    return [
      {
        name: '(connect)',
        bars: [{ due: from, from, to, end: null, title: `connect: ${format.seconds(from)} to ${format.seconds(to)}` }],
      },
    ];
  }

  function mark(kind, text) {
    return el('span', { class: 'key' }, el('i', { class: `sample ${kind}`, 'aria-hidden': 'true' }), text);
  }

  function startRow(j, r) {
    const after = ms => (ms === undefined ? '–' : format.signed(ms, format.duration));
    return [
      j.name,
      r.number,
      r.dueSeconds === null ? '–' : format.seconds(r.dueSeconds),
      after(r.firstDispatched),
      after(r.lastDispatched),
      after(r.firstReceived),
      after(r.lastReceived),
      r.skipped ? 'did not run' : after(r.ended),
    ];
  }

  function repetitionBar(j, r) {
    const place = ms => (ms === undefined ? null : r.dueSeconds + ms / 1e3);
    const row = startRow(j, r);
    return {
      due: r.dueSeconds,
      from: place(r.firstDispatched ?? r.firstReceived),
      to: place(r.lastDispatched ?? r.lastReceived),
      end: place(r.ended),
      skipped: r.skipped,
      title: `${j.name}, repetition ${r.number}: asked for ${row[2]}, first dispatch ${row[3]}, last ${row[4]}, ended ${row[7]}`,
    };
  }

  function faultBars(s) {
    return (s.faults || [])
      .filter(f => f.begun != null)
      .map(f => ({
        name: `fault: ${f.what}`,
        bars: [
          {
            due: null,
            from: f.begun / 1e3,
            to: f.lasted == null ? s.durationSeconds : (f.begun + f.lasted) / 1e3,
            end: null,
            fault: true,
            title: `${f.what}, ${f.at}`,
          },
        ],
      }));
  }

  // --- ledger ---

  function ledger(s) {
    if (!s.jobs.length) return null;
    const others = [
      ['duplicates', 'duplicates'],
      ['unexpected', 'unexpected'],
      ['missing', 'missing'],
      ['extra', 'extra'],
    ];
    const rows = s.jobs.map(j => [
      j.name,
      { text: j.ledgerBalanced ? 'balanced' : '✗ NOT balanced', class: j.ledgerBalanced ? '' : 'bad' },
      format.count(j.targeted),
      ...model.outcomes.map(o => ({ text: format.count(j[o.key]), class: o.key !== 'succeeded' && j[o.key] ? 'bad' : '' })),
      ...others.map(([k]) => format.count(j[k])),
    ]);
    return el(
      'div',
      null,
      stacks(s),
      table(
        'Every execution in exactly one outcome',
        ['job', 'ledger', '#targeted', ...model.outcomes.map(o => `#${o.name}`), ...others.map(([, head]) => `#${head}`)],
        rows,
      ),
      causes(s),
    );
  }

  // stacks are the outcomes of all jobs, a bar each.
  function stacks(s) {
    const seen = model.outcomes.filter(o => s.jobs.some(j => j[o.key] > 0));
    return el(
      'div',
      { class: 'card' },
      el(
        'div',
        { class: 'legend' },
        seen.map(o => heatmap.key(`var(${o.color})`, o.name)),
      ),
      s.jobs.map(stack),
    );
  }

  // stack is a job's outcomes as parts of a bar. What occurred is at least
  // three pixels wide: one failure of a million is to be seen.
  function stack(j) {
    const parts = model.outcomes.filter(o => j[o.key] > 0);
    const text = parts.map(o => `${format.count(j[o.key])} ${o.name}`).join(' · ') || 'targeted no device';
    return el(
      'div',
      { class: 'lane ledger' },
      el('span', { class: 'name', title: j.name }, j.name),
      el(
        'span',
        { class: 'stack', 'aria-hidden': 'true' },
        parts.map(o =>
          el('i', {
            class: 'part',
            title: `${format.count(j[o.key])} ${o.name}`,
            style: { 'flex-grow': String(j[o.key]), background: `var(${o.color})` },
          }),
        ),
      ),
      el('span', { class: 'said' }, text),
    );
  }

  function causes(s) {
    const byOutcome = j =>
      j.causesByOutcome
        ? model.outcomes.flatMap(o => model.sorted(j.causesByOutcome[o.key]).map(([why, n]) => [o.name, why, n]))
        : model.sorted(j.causes).map(([why, n]) => ['', why, n]);
    const rows = s.jobs.flatMap(j =>
      byOutcome(j).map(([outcome, why, n]) => [j.name, outcome, why || 'no cause given', format.count(n)]),
    );
    return rows.length ? table('Causes of what did not succeed', ['job', 'outcome', 'cause', '#executions'], rows) : null;
  }

  return { verdict, schedule, ledger, tile, stacks };
})();
