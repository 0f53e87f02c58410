// The map of all devices: a cell each, or for so many, in the order of the
// fleet, coloured by a quantity or by an outcome. Pointing at a cell names its
// device or devices, and so do the arrow keys; a field finds one by its name.
const heatmap = (() => {
  'use strict';

  // viridis, in nine steps: its lightness grows evenly, so that it reads
  // without colour too.
  const ramp = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
  ];

  function rampAt(f) {
    const at = Math.min(Math.max(f, 0), 1) * (ramp.length - 1);
    const i = Math.min(Math.floor(at), ramp.length - 2);
    return ramp[i].map((c, k) => Math.round(c + (ramp[i + 1][k] - c) * (at - i)));
  }

  function hex(name) {
    const c = theme.color(name);
    return [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16));
  }

  // map makes the figure of n cells, each a unit. views are [{name, value: i =>
  // number or null, print, scale: 'log' | 'linear'}] or [{name, classes: [{name,
  // color}], class: i => index or -1, count: [number] of each class, or null to
  // count cells}]. describe(i) gives what to say of a cell, a list of texts, its
  // name first; find(text) the cell that a text names; about is said above.
  function map(o) {
    const state = { view: o.views[0], at: -1, columns: 1, cell: 1 };
    const canvas = dom.el('canvas', {
      tabindex: '0',
      role: 'application',
      'aria-roledescription': 'map of devices',
      class: 'cells',
      'aria-label': `${o.about || `${format.plural(o.n, 'device')}, a cell each.`} Arrow keys move from ${o.unit} to ${o.unit}.`,
    });
    const mark = dom.el('div', { class: 'mark', hidden: true, 'aria-hidden': 'true' });
    const tip = dom.el('div', { class: 'tip', hidden: true, 'aria-hidden': 'true' });
    const frame = dom.el('div', { class: 'map' }, canvas, mark, tip);
    const said = dom.el(
      'p',
      { class: 'readout device', 'aria-live': 'polite' },
      'Point at a cell, or focus the map and use the arrow keys.',
    );
    const legend = dom.el('div', { class: 'scale' });
    const worst = dom.el('div');

    const draw = () => paintAll(o, state, canvas, frame, legend);
    const point = (i, tipped) => {
      state.at = i;
      mark.hidden = i < 0;
      tip.hidden = i < 0 || !tipped;
      if (i < 0) return;
      const texts = o.describe(i);
      said.replaceChildren(dom.el('b', null, texts[0]), ...texts.slice(1).map(t => dom.el('span', { class: 'value' }, t)));
      place(state, canvas, mark, tip, i);
      tip.replaceChildren(dom.el('b', null, texts[0]), ...texts.slice(1, 5).map(t => dom.el('div', null, t)));
    };
    listen(o, state, canvas, point);

    const listWorst = () => worst.replaceChildren(dom.fold('The 50 worst, as a table', () => worstTable(o, state.view)));
    const choose = select(
      'Show',
      o.views.map(v => v.name),
      n => {
        state.view = o.views[n];
        draw();
        listWorst();
        if (state.at >= 0) point(state.at, false);
      },
    );
    theme.onchange(draw);
    let drawn = 0;
    new ResizeObserver(() =>
      requestAnimationFrame(() => {
        if (frame.clientWidth === 0 || frame.clientWidth === drawn) return;
        drawn = frame.clientWidth;
        draw();
        if (state.at >= 0) point(state.at, false);
      }),
    ).observe(frame);
    listWorst();
    return dom.el(
      'figure',
      { class: 'chart devices' },
      dom.el(
        'div',
        { class: 'controls' },
        choose,
        finder(o, i => {
          point(i, true);
          canvas.focus({ preventScroll: true });
        }),
      ),
      o.about && dom.el('p', { class: 'note' }, o.about),
      legend,
      frame,
      said,
      worst,
    );
  }

  function select(label, names, onchoose) {
    const id = dom.id('select');
    return dom.el(
      'label',
      { for: id },
      `${label} `,
      dom.el(
        'select',
        { id, onchange: e => onchoose(e.currentTarget.selectedIndex) },
        names.map(n => dom.el('option', null, n)),
      ),
    );
  }

  // finder is the field that goes to a device by its name, or by a part of it.
  function finder(o, found) {
    const none = dom.el('span', { class: 'none', role: 'status' });
    const input = dom.el('input', { type: 'search', placeholder: o.sample, autocomplete: 'off', spellcheck: 'false' });
    const go = e => {
      e.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      const i = o.find(text);
      none.textContent = i < 0 ? 'no such device' : '';
      if (i >= 0) found(i);
    };
    return dom.el(
      'form',
      { class: 'find', role: 'search', onsubmit: go },
      dom.el('label', null, 'Device ', input),
      dom.el('button', { type: 'submit' }, 'Find'),
      none,
    );
  }

  // layout chooses the largest square cell with which all devices fit into the
  // width and about half a screen.
  function layout(n, width) {
    for (let cell = 22; cell > 1; cell--) {
      const columns = Math.max(Math.floor(width / cell), 1);
      if (Math.ceil(n / columns) * cell <= Math.min(460, width * 1.3)) return { cell, columns: Math.min(columns, n) };
    }
    return { cell: 1, columns: Math.max(Math.floor(width), 1) };
  }

  function paintAll(o, state, canvas, frame, legend) {
    const { cell, columns } = layout(o.n, frame.clientWidth);
    const rows = Math.ceil(o.n / columns);
    Object.assign(state, { cell, columns });
    canvas.width = columns * cell;
    canvas.height = rows * cell;
    canvas.style.width = `${canvas.width}px`;
    const ctx = canvas.getContext('2d');
    const image = ctx.createImageData(canvas.width, canvas.height);
    const color = coloring(o, state.view, legend);
    const gap = cell > 3 ? 1 : 0; // between cells, where there is room
    for (let i = 0; i < o.n; i++) {
      const [r, g, b] = color(i);
      const x0 = (i % columns) * cell,
        y0 = Math.floor(i / columns) * cell;
      for (let y = y0; y < y0 + cell - gap; y++) {
        for (let x = x0; x < x0 + cell - gap; x++) {
          const at = 4 * (y * canvas.width + x);
          image.data[at] = r;
          image.data[at + 1] = g;
          image.data[at + 2] = b;
          image.data[at + 3] = 255;
        }
      }
    }
    ctx.putImageData(image, 0, 0);
  }

  // coloring fills the legend and returns the colour of a device.
  function coloring(o, view, legend) {
    const empty = hex('--none');
    if (view.classes) {
      let counts = view.classes.map(() => 0);
      let without = 0;
      for (let i = 0; i < o.n; i++)
        if (view.class(i) < 0) without++;
        else counts[view.class(i)]++;
      counts = view.count || counts;
      legend.replaceChildren(
        ...view.classes.flatMap((c, k) => (counts[k] ? [key(`var(${c.color})`, `${c.name} ${format.count(counts[k])}`)] : [])),
        ...(without ? [key('var(--none)', `not targeted ${o.unit === 'cell' ? format.plural(without, 'cell') : format.count(without)}`)] : []),
      );
      const colors = view.classes.map(c => hex(c.color));
      return i => colors[view.class(i)] || empty;
    }
    let min = Infinity,
      max = -Infinity,
      without = 0;
    for (let i = 0; i < o.n; i++) {
      const v = view.value(i);
      if (v === null) without++;
      else {
        min = Math.min(min, v);
        max = Math.max(max, v);
      }
    }
    legend.replaceChildren(
      ...(max >= min ? [bar(min, max, view)] : []),
      ...(without ? [key('var(--none)', `no value ${o.unit === 'cell' ? format.plural(without, 'cell') : format.count(without)}`)] : []),
    );
    const f = place => (view.scale === 'log' ? Math.log(Math.max(place, 1e-6)) : place);
    const low = f(min),
      span = f(max) - low || 1;
    return i => {
      const v = view.value(i);
      return v === null ? empty : rampAt((f(v) - low) / span);
    };
  }

  function key(color, text) {
    return dom.el(
      'span',
      { class: 'key' },
      dom.el('i', { class: 'box', style: { background: color }, 'aria-hidden': 'true' }),
      text,
    );
  }

  function bar(min, max, view) {
    const stops = ramp.map(c => `rgb(${c.join(' ')})`).join(', ');
    const middle = view.scale === 'log' && min > 0 ? Math.sqrt(min * max) : (min + max) / 2;
    return dom.el(
      'span',
      { class: 'ramp' },
      view.print(min),
      dom.el(
        'i',
        { style: { background: `linear-gradient(90deg, ${stops})` }, 'aria-hidden': 'true' },
        dom.el('span', null, view.print(middle)),
      ),
      view.print(max),
      view.scale === 'log' ? ' (logarithmic)' : '',
    );
  }

  function place(state, canvas, mark, tip, i) {
    const { cell, columns } = state;
    const x = (i % columns) * cell,
      y = Math.floor(i / columns) * cell;
    Object.entries({ left: x - 2, top: y - 2, width: cell + (cell > 3 ? 3 : 4), height: cell + (cell > 3 ? 3 : 4) }).forEach(
      ([k, v]) => {
        mark.style[k] = `${v}px`;
      },
    );
    const right = x > canvas.width / 2;
    tip.style.left = right ? 'auto' : `${x + cell + 8}px`;
    tip.style.right = right ? `calc(100% - ${x - 8}px)` : 'auto';
    tip.style.top = `${Math.max(y - 12, 0)}px`;
  }

  function listen(o, state, canvas, point) {
    canvas.addEventListener('pointermove', e => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((e.clientX - box.left) / state.cell),
        row = Math.floor((e.clientY - box.top) / state.cell);
      const i = row * state.columns + column;
      if (column >= 0 && column < state.columns && i >= 0 && i < o.n) point(i, true);
    });
    canvas.addEventListener('pointerleave', () => {
      if (document.activeElement !== canvas) point(-1, false);
    });
    canvas.addEventListener('focus', () => point(Math.max(state.at, 0), true));
    canvas.addEventListener('blur', () => point(-1, false));
    canvas.addEventListener('keydown', e => {
      const row = state.columns;
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, PageDown: 10 * row, PageUp: -10 * row }[e.key];
      const to = step ? state.at + step : { Home: 0, End: o.n - 1 }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      if (to >= 0 && to < o.n) point(to, true);
    });
  }

  // worstTable lists the devices with the largest values, or those whose
  // outcome is not the best.
  function worstTable(o, view) {
    const rank = view.classes ? i => view.class(i) : i => view.value(i) ?? -1;
    const least = view.classes ? 0 : -1;
    const order = [];
    for (let i = 0; i < o.n; i++) if (rank(i) > least) order.push(i);
    order.sort((a, b) => rank(b) - rank(a) || a - b);
    if (order.length === 0) return dom.el('p', { class: 'note' }, 'None.');
    return dom.table(
      `Worst by ${view.name}`,
      [o.unit === 'cell' ? 'devices' : 'device', view.classes ? view.name : `#${view.name}`, 'more'],
      order
        .slice(0, 50)
        .map(i => [
          o.name(i),
          view.classes ? view.classes[view.class(i)].name : view.print(view.value(i)),
          o.describe(i).slice(1).join(' · '),
        ]),
    );
  }

  return { map, key };
})();
