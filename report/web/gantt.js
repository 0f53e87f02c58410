// The schedule: when each repetition of each job was asked to start, and when
// it did. Bars are plain elements; the table below says the same in numbers.
const gantt = (() => {
  'use strict';

  // chart takes rows of [{name, bars: [{due, from, to, end, title}]}], all in
  // seconds since the run began, and how long the run was.
  function chart(rows, duration) {
    const step = nice(duration / 6);
    const marks = Array.from({ length: Math.floor(duration / step + 1e-9) + 1 }, (_, i) => i * step);
    const at = s => `${(100 * Math.min(Math.max(s / duration, 0), 1)).toFixed(3)}%`;
    const grid = () => marks.map(m => dom.el('i', { class: 'line', style: { left: at(m) } }));
    return dom.el(
      'div',
      { class: 'gantt', role: 'img', 'aria-label': 'Schedule of all jobs: a table of the same follows' },
      rows.map(row =>
        dom.el(
          'div',
          { class: 'lane' },
          dom.el('span', { class: 'name', title: row.name }, row.name),
          dom.el(
            'span',
            { class: 'track' },
            grid(),
            row.bars.map(b => bar(b, at)),
          ),
        ),
      ),
      dom.el(
        'div',
        { class: 'lane axis' },
        dom.el('span', { class: 'name' }, ''),
        dom.el(
          'span',
          { class: 'track' },
          marks.map(m => dom.el('span', { class: 'when', style: { left: at(m) } }, format.seconds(m))),
        ),
      ),
    );
  }

  function bar(b, at) {
    const span = (from, to) => ({ left: at(from), width: `calc(${at(to)} - ${at(from)})` });
    return [
      b.end !== null &&
        b.from !== null &&
        dom.el('i', { class: 'whole', style: span(b.from, Math.max(b.end, b.to ?? b.from)), title: b.title }),
      b.from !== null &&
        b.to !== null &&
        dom.el('i', { class: b.fault ? 'bar fault' : 'bar', style: span(b.from, b.to), title: b.title }),
      b.due !== null && dom.el('i', { class: b.skipped ? 'due skipped' : 'due', style: { left: at(b.due) }, title: b.title }),
    ];
  }

  // nice rounds a distance between marks up to 1, 2 or 5 of a power of ten, or
  // to what clocks count in.
  function nice(seconds) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
    return steps.find(s => s >= seconds) || 86400 * Math.ceil(seconds / 86400);
  }

  return { chart };
})();
