// The page of a run that goes on: the report's own figures, of what is known
// so far. The server sends all of it once a second; what has changed is put
// into the page, so that a cursor, a choice or a scrolled table stays.
(() => {
  'use strict';
  const { el, table } = dom;
  const main = document.getElementById('main');
  const status = document.getElementById('status');
  const stage = document.getElementById('stage');
  const facts = document.getElementById('facts');

  // --- what a second has to say ---

  function sections(data) {
    const s = data.summary;
    return [
      ['now', 'Now', tiles(data)],
      ['ledger', 'Ledger so far', ledger(data)],
      ['jobs', 'Jobs', tabs(data)],
      ['connect', 'Connect', host.connect(data)],
      ['faults', 'Faults', host.faults(s)],
      ['generator', 'Generator', host.generator(data)],
      ['thresholds', 'Thresholds', thresholds(s)],
    ];
  }

  function tiles(data) {
    const { standing: st, summary: s, health: h } = data;
    const away = [
      [st.connecting, 'connecting'],
      [st.offline, 'offline'],
      [st.failed, 'failed'],
    ].filter(([n]) => n > 0);
    const all = [
      overview.tile(
        'Devices online',
        format.count(st.online),
        [`of ${format.count(st.devices)}`, ...away.map(([n, what]) => `${format.count(n)} ${what}`)].join(' · '),
        st.failed ? 'bad' : '',
      ),
    ];
    all.push(...shownJobs(st).map(i => jobTile(s.jobs[i], st.jobs[i])));
    const sum = f => s.jobs.reduce((n, j) => n + f(j), 0);
    const over = sum(j => j.targeted),
      succeeded = sum(j => j.succeeded);
    all.push(
      overview.tile(
        'Executions succeeded',
        format.percent(succeeded, over),
        over ? `${format.count(succeeded)} of ${format.count(over)} in repetitions that are over` : 'no repetition is over',
        succeeded < over ? 'bad' : '',
      ),
      overview.tile(
        'Generator wake p99',
        h.at ? format.duration(last(model.column(h.wakeP99))) : '–',
        h.at ? `in the last second · max ${format.duration(last(model.column(h.wakeMax)))}` : 'not measured yet',
        h.at && last(model.column(h.wakeP99)) > wakeLimit(s) ? 'bad' : '',
      ),
    );
    return el('div', null, el('div', { class: 'tiles' }, all));
  }

  // wakeLimit is how long the generator may wait, in ms, before the quickest of
  // the jobs tells more of it than of the hub; thresholds, in the end, may ask
  // for less.
  function wakeLimit(s) {
    const all = s.jobs.map(j => j.phases[model.response(j.phases)]?.p99).filter(p99 => p99 > 0);
    return Math.max(1, all.length ? Math.min(...all) / 10 : 1);
  }

  function jobTile(j, st) {
    const p = j.phases[model.response(j.phases)];
    return overview.tile(
      `Response p99, ${j.name}`,
      format.duration(p?.p99),
      [p && `p50 ${format.duration(p.p50)}`, `${st.repetition} of ${j.repetitions} ${st.status}`, st.targeted && `${format.percent(st.done, st.targeted)} done`]
        .filter(Boolean)
        .join(' · '),
    );
  }

  const last = list => list[list.length - 1];

  // shownJobs are the jobs that have a tile: four, first those that go on.
  function shownJobs(st) {
    const begun = st.jobs.map((_, i) => i).filter(i => st.jobs[i].repetition > 0);
    const going = begun.filter(i => st.jobs[i].status !== 'done');
    const over = begun.filter(i => st.jobs[i].status === 'done').reverse();
    return [...going, ...over].slice(0, 4).sort((a, b) => a - b);
  }

  function ledger(data) {
    const s = data.summary;
    if (!s.jobs.length) return null;
    const seen = model.outcomes.filter(o => s.jobs.some(j => j[o.key] > 0));
    return el(
      'div',
      null,
      seen.length ? overview.stacks(s) : null,
      table(
        'The repetition that began last, and the outcomes of those that are over',
        ['job', 'status', '#repetition', '#targeted', '#received', '#done', ...seen.map(o => `#${o.name}`)],
        s.jobs.map((j, i) => {
          const st = data.standing.jobs[i];
          return [
            j.name,
            st ? st.status : 'not begun',
            st ? `${st.repetition} of ${j.repetitions}` : `0 of ${j.repetitions}`,
            ...['targeted', 'received', 'done'].map(k => (st ? format.count(st[k]) : '–')),
            ...seen.map(o => ({ text: format.count(j[o.key]), class: o.key !== 'succeeded' && j[o.key] ? 'bad' : '' })),
          ];
        }),
      ),
    );
  }

  // tabs keeps the tabs of the jobs: only what is in those that were opened changes.
  const open = { data: null, node: null, panels: new Map() };
  function tabs(data) {
    const all = data.summary.jobs;
    if (!all.length) return null;
    open.data = data;
    for (const [i, panel] of open.panels) patch(panel.firstChild, panelOf(i));
    open.node ??= dom.tabs(
      'Jobs',
      all.map((j, i) => ({
        name: j.name,
        panel: () => {
          open.panels.set(i, el('div', null, panelOf(i)));
          return open.panels.get(i);
        },
      })),
    );
    return open.node;
  }

  function panelOf(i) {
    const j = open.data.summary.jobs[i];
    const panel = jobs.job(open.data, j, open.data.jobs[i]);
    if (Object.keys(j.phases).length) return panel;
    return el('div', null, panel.firstChild, el('p', { class: 'note' }, 'No execution has ended yet.'));
  }

  function thresholds(s) {
    if (!s.thresholds.length) return null;
    return el(
      'div',
      null,
      el('p', { class: 'note' }, 'Judged when the run is over.'),
      el(
        'ul',
        { class: 'plain' },
        s.thresholds.map(t => el('li', null, el('code', null, t.expression))),
      ),
    );
  }

  // --- into the page ---

  // patch makes old look like fresh, with its charts and folds left in place.
  function patch(old, fresh) {
    if (old === fresh) return;
    if (old.update && fresh.options && old.options.title === fresh.options.title) {
      old.options = fresh.options;
      old.update(fresh.options);
      return;
    }
    const [a, b] = [old, fresh].map(n => [...(n.children || [])]);
    const charts = old.nodeType === Node.ELEMENT_NODE && old.querySelector('figure.chart');
    if (charts && old.tagName === fresh.tagName && a.length === b.length) a.forEach((child, i) => patch(child, b[i]));
    else if (!old.isEqualNode(fresh)) {
      const [left, top] = [old.scrollLeft, old.scrollTop];
      old.replaceWith(fresh);
      Object.assign(fresh, { scrollLeft: left, scrollTop: top });
    }
  }

  const shown = new Map(); // sections by id
  function show(data) {
    for (const [id, name, node] of sections(data)) {
      const section = shown.get(id) || add(id, name);
      section.hidden = section.link.hidden = !node;
      if (!node) continue;
      if (section.node) patch(section.node, node);
      else section.append(node);
      section.node = section.lastElementChild;
    }
    const st = data.standing;
    stage.textContent = st.stage;
    facts.textContent = [
      `${format.seconds(Math.floor(data.summary.durationSeconds))} since the run began`,
      `${format.count(st.devices)} devices`,
      format.plural(data.watching.pages, 'page') + ' watching',
      ...(data.watching.dropped ? [`${format.count(data.watching.dropped)} too slow, let go of`] : []),
    ].join(' · ');
    stopping(st.stage === 'draining');
    document.documentElement.dataset.ready = 'true';
  }

  function add(id, name) {
    const section = el(
      'section',
      { id, 'aria-labelledby': `${id}-title` },
      el('h2', { id: `${id}-title` }, name),
    );
    section.link = el('a', { href: `#${id}` }, name);
    document.getElementById('nav').append(section.link);
    document.getElementById('nav').hidden = false;
    document.getElementById('wait')?.remove();
    main.append(section);
    shown.set(id, section);
    return section;
  }

  // --- stop ---

  const buttons = {
    ask: el('button', { type: 'button', class: 'stop', onclick: () => asking(true) }, 'Stop the run'),
    yes: el('button', { type: 'button', class: 'stop sure', onclick: stop }, 'Yes, stop it'),
    no: el('button', { type: 'button', onclick: () => asking(false) }, 'Let it go on'),
  };

  function asking(sure) {
    buttons.ask.hidden = sure;
    buttons.yes.hidden = buttons.no.hidden = !sure;
    (sure ? buttons.no : buttons.ask).focus();
  }

  function stopping(is) {
    if (!is || buttons.ask.disabled) return;
    for (const b of Object.values(buttons)) b.hidden = b !== buttons.ask;
    buttons.ask.disabled = true;
    buttons.ask.textContent = 'Stopping…';
    say('Nothing more is begun; what has begun is awaited.');
  }

  async function stop() {
    try {
      const answer = await fetch('stop', {
        method: 'POST',
        headers: { 'X-Muster-Stop': document.querySelector('meta[name="muster-stop"]').content },
      });
      if (!answer.ok) throw new Error(await answer.text());
      stopping(true);
    } catch (err) {
      asking(false);
      say(`The run was not stopped: ${err.message}`, true);
    }
  }

  function say(text, bad) {
    status.textContent = text;
    status.className = bad ? 'trouble' : 'note';
    status.hidden = !text;
  }

  // --- the stream ---

  document.getElementById('tools').append(buttons.ask, buttons.yes, buttons.no, theme.toggle());
  buttons.yes.hidden = buttons.no.hidden = true;
  const stream = new EventSource('events');
  let lost = false;
  stream.addEventListener('state', e => {
    if (lost) say('');
    lost = false;
    try {
      show(JSON.parse(e.data));
    } catch (err) {
      say(`What the run sent cannot be shown: ${err.message}`, true);
      document.documentElement.dataset.ready = 'failed';
    }
  });
  stream.addEventListener('end', e => {
    stream.close();
    const end = JSON.parse(e.data);
    for (const b of Object.values(buttons)) b.hidden = true;
    stage.textContent = 'over';
    if (end.report) location.replace('report.html');
    else say('The run ended without a report; its terminal says why.', true);
  });
  stream.onerror = () => {
    lost = true;
    const over = stream.readyState === EventSource.CLOSED;
    say(
      over
        ? 'The run sends nothing to this page: too many pages are watching, or the address is not right any more.'
        : 'The connection to the run is lost; trying again. The run may be over.',
      true,
    );
  };
})();
