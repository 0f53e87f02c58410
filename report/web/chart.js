// Line charts on uPlot: with a legend of buttons, a line that reads out what
// the cursor is on (by mouse, touch or arrow keys), and a table of the same
// numbers for who does not see the canvas.
const chart = (() => {
  'use strict';

  const all = []; // charts, to be drawn again when the colours change
  theme.onchange(() => all.forEach(u => u.redraw(false)));

  const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

  // line makes a figure. Options:
  //   title, note         what it shows, and what to know about it
  //   x, y                axes, as axis() has them; x.read prints the cursor's place
  //   series              [{label, color: '--name', x: [], y: [], stepped, dash, width, points, fill, off}]:
  //                       y may hold nulls, where there is no value
  //   bands               stretches of the x axis to shade, [{from, to}]
  //   read                prints a value of y for the readout
  //   table               () => node with the same numbers
  // The figure's update(o) shows other options in its place, as of a run that
  // goes on; figure.options are those it was made of.
  function line(o) {
    const plot = dom.el('div', {
      class: 'plot',
      tabindex: '0',
      role: 'img',
      'aria-roledescription': 'chart',
      'aria-label': spoken(o),
    });
    const readout = dom.el('p', { class: 'readout', 'aria-live': 'polite' }, o.summary || '');
    const legend = dom.el('div', { class: 'legend' });
    const view = { o, u: null, plot, legend, readout };
    const table = o.table && dom.fold('As a table', () => view.o.table());
    const figure = dom.el(
      'figure',
      { class: 'chart' },
      dom.el('figcaption', null, dom.el('h3', null, o.title), o.note && dom.el('p', { class: 'note' }, o.note)),
      legend,
      plot,
      readout,
      table,
    );
    keys(view);
    whenShown(view);
    figure.options = o;
    figure.update = next => update(view, next, table);
    return figure;
  }

  function spoken(o) {
    return `${o.title}. ${o.summary || ''} Arrow keys move the cursor; a table follows.`;
  }

  // update shows other options: in the same canvas if they have the same
  // lines, else in a new one that hides what was hidden.
  function update(view, o, table) {
    const before = view.o;
    view.o = o;
    view.plot.setAttribute('aria-label', spoken(o));
    table?.renew();
    if (!view.u) view.readout.textContent = o.summary || '';
    else if (before.series.map(s => s.label).join('\n') === o.series.map(s => s.label).join('\n')) view.u.setData(join(o));
    else {
      const shown = new Map(before.series.map((s, i) => [s.label, view.u.series[i + 1].show]));
      view.o = { ...o, series: o.series.map(s => (shown.has(s.label) ? { ...s, off: !shown.get(s.label) } : s)) };
      all.splice(all.indexOf(view.u), 1);
      view.u.destroy();
      view.legend.replaceChildren();
      draw(view);
    }
    if (view.u && !read(view)) view.readout.textContent = o.summary || '';
  }

  function join(o) {
    return o.series.length ? uPlot.join(o.series.map(s => [s.x, s.y])) : [[0], []];
  }

  // whenShown draws once the plot has a width: uPlot needs one.
  function whenShown(view) {
    new ResizeObserver(() => {
      const width = view.plot.clientWidth;
      if (width === 0) return;
      requestAnimationFrame(() => {
        // not here: what changes a size while sizes are told is an error
        if (!view.u) draw(view);
        else if (view.u.width !== width) view.u.setSize({ width, height: height(width) });
      });
    }).observe(view.plot);
  }

  function height(width) {
    return width < 480 ? 230 : 290;
  }

  function draw(view) {
    const { o, plot, legend } = view;
    const width = plot.clientWidth;
    const u = new uPlot(
      {
        width,
        height: height(width),
        padding: [10, 34, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
        scales: { x: { time: false, range: o.x.range }, y: scale(o.y) },
        axes: [axis(o.x, 2), axis(o.y, 3)],
        series: [{}, ...o.series.map(style)],
        hooks: { setCursor: [() => read(view)], drawClear: [u => shade(u, view.o.bands || [])] },
      },
      join(o),
      plot,
    );
    all.push(u);
    view.u = u;
    o.series.forEach((s, i) => legend.append(button(s, i, u)));
  }

  // shade marks stretches of the x axis: [{from, to}].
  function shade(u, bands) {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.fillStyle = theme.color('--warn') + '26';
    for (const b of bands) {
      const from = Math.max(u.valToPos(b.from, 'x', true), left),
        to = Math.min(u.valToPos(b.to, 'x', true), left + width);
      if (to >= left && from <= left + width) u.ctx.fillRect(from, top, Math.max(to - from, 2), height);
    }
    u.ctx.restore();
  }

  // style is a series as uPlot wants it. Colours are functions: they change.
  function style(s) {
    const paths = s.stepped
      ? uPlot.paths.stepped({ align: 1 })
      : s.bars
        ? uPlot.paths.bars({ size: [0.8, 40], align: 1 })
        : undefined;
    return {
      label: s.label,
      show: !s.off,
      width: s.width || 1.75,
      dash: s.dash,
      paths,
      spanGaps: false,
      stroke: () => paint(s, s.alpha ?? 1),
      fill: s.fill && (() => paint(s, s.fill)),
      points: { show: Boolean(s.points), size: 5, width: 1, stroke: () => paint(s, 1), fill: () => paint(s, 1) },
    };
  }

  function paint(s, alpha) {
    const c = theme.color(s.color);
    return alpha >= 1
      ? c
      : c +
          Math.round(255 * alpha)
            .toString(16)
            .padStart(2, '0'); // colours are #rrggbb
  }

  // scale is a y axis from zero, or around it, or a logarithmic one around what
  // there is.
  function scale(y) {
    if (y.around) return { range: (_, min, max) => [Math.min(min * 1.1, -1), Math.max(max * 1.1, 1)] };
    if (!y.log) return { range: (_, __, max) => [0, y.max || (max > 0 ? max * 1.06 : 1)] };
    return { distr: 3, range: (_, min, max) => (min > 0 ? [min / 1.3, max * 1.3] : [0.1, 1]) };
  }

  // axis: {label, print: values => texts, splits: (min, max) => values, size}.
  function axis(a, side) {
    return {
      side,
      label: a.label,
      labelSize: 20,
      labelFont: font,
      font,
      size: side === 3 ? a.size || 58 : 30,
      gap: 5,
      stroke: () => theme.color('--ink-2'),
      grid: { stroke: () => theme.color('--grid'), width: 1 },
      ticks: { stroke: () => theme.color('--grid'), width: 1, size: 5 },
      splits: a.log
        ? (u, _, min, max) => decades(min, max, u.height)
        : a.splits && ((u, _, min, max) => a.splits(min, max, u.width)),
      filter: a.log ? (_, splits) => splits : undefined, // uPlot would leave marks of a logarithmic axis without a text
      values: (_, values) => a.print(values),
      space: side === 3 ? 34 : 62,
    };
  }

  // decades are the marks of a logarithmic axis: powers of ten, and as many
  // multiples of each between them as there is room for.
  function decades(min, max, height) {
    let best = [];
    for (const multiples of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]]) {
      const marks = [];
      for (let p = Math.floor(Math.log10(min)); p <= Math.ceil(Math.log10(max)); p++) {
        for (const m of multiples) {
          const v = m * Math.pow(10, p);
          if (v >= min && v <= max) marks.push(v);
        }
      }
      if (best.length >= 3 && marks.length > height / 34) break;
      best = marks;
    }
    return best;
  }

  // read tells the values at the cursor: of each series the last that is not
  // after it, which on a step is the one that holds there. It reports whether
  // the cursor is on anything.
  function read({ o, u, readout }) {
    const left = u?.cursor.left; // while u is made there is none yet
    if (left === null || left === undefined || left < 0) return false;
    const at = u.posToVal(left, 'x');
    const parts = o.series.map((s, i) => {
      const y = u.series[i + 1].show ? value(s, at) : null;
      return y === null ? null : dom.el('span', { class: 'value' }, swatch(s), `${s.label} `, dom.el('b', null, o.read(y)));
    });
    readout.replaceChildren();
    dom.append(readout, [dom.el('span', { class: 'at' }, o.x.read(at)), parts]);
    return true;
  }

  function value(s, at) {
    const i = indexAt(s.x, at, s.stepped || s.bars);
    return i < 0 ? null : (s.y[i] ?? null);
  }

  // indexAt finds the last place that is not after at; or the nearest one.
  function indexAt(x, at, before) {
    let low = 0,
      high = x.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (x[mid] <= at + 1e-9) low = mid + 1;
      else high = mid;
    }
    if (!before && low < x.length && (low === 0 || x[low] - at < at - x[low - 1])) return low;
    return low - 1;
  }

  // keys moves the cursor by the arrow keys, a point of the data at a time.
  function keys(view) {
    let n = -1;
    view.plot.addEventListener('keydown', e => {
      if (!view.u) return;
      const u = view.u,
        x = u.data[0];
      const leap = Math.max(1, Math.round(x.length / 20));
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: leap, PageUp: -leap }[e.key];
      const to = step ? (n < 0 ? 0 : n + step) : { Home: 0, End: x.length - 1 }[e.key];
      if (to === undefined || x.length === 0) return;
      e.preventDefault();
      n = Math.min(Math.max(to, 0), x.length - 1);
      u.setCursor({ left: u.valToPos(x[n], 'x'), top: u.bbox.height / 2 / devicePixelRatio });
    });
  }

  // swatch shows a series' colour and dashes.
  function swatch(s) {
    return dom.el('i', {
      class: s.dash ? 'swatch dashed' : 'swatch',
      style: { color: `var(${s.color})` },
      'aria-hidden': 'true',
    });
  }

  // button is an entry of the legend: it shows and hides its series.
  function button(s, i, u) {
    return dom.el(
      'button',
      {
        type: 'button',
        'aria-pressed': String(!s.off),
        title: `Show or hide ${s.label}`,
        onclick: e => {
          const show = !u.series[i + 1].show;
          u.setSeries(i + 1, { show });
          e.currentTarget.setAttribute('aria-pressed', String(show));
        },
      },
      swatch(s),
      s.label,
    );
  }

  // Axes that charts share.
  const axes = {
    // time is seconds since the run began.
    time: {
      label: 'time since the run began',
      print: v => v.map(s => (s === null ? '' : format.seconds(s))),
      read: s => format.seconds(Number(s.toFixed(1))),
    },
    // latency is milliseconds.
    latency: (label, log) => ({
      label,
      log,
      print: log ? v => v.map(x => (x === null ? '' : format.tick(x))) : format.ticks,
      size: 64,
    }),
    count: label => ({ label, print: v => v.map(n => (n === null ? '' : n % 1 ? String(n) : format.count(n))), size: 64 }),
    // quantile is -log10(1-q): each nine has the same room.
    quantile: {
      label: 'percentile (each nine as wide)',
      range: (_, __, max) => [0, max],
      splits: (_, max, width) => [
        0,
        ...(width / max > 130 ? [Math.log10(2)] : []),
        ...Array.from({ length: Math.floor(max) }, (_, i) => i + 1),
      ],
      print: v => v.map(format.quantile),
      read: format.quantile,
    },
  };

  return { line, axes, value, indexAt, swatch };
})();
