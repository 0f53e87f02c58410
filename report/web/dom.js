// Elements. Every text of a run (ids, names, errors) comes from a scenario or
// from a hub and is not to be trusted: it enters the page as a text node or as
// the value of a harmless attribute, never as markup.
const dom = (() => {
  'use strict';

  // el makes an element. Of props, class and on* are what they say, style is
  // an object, data-*, aria-* and the rest are attributes; null and false ones
  // are left out. Children are nodes, texts, or lists of these.
  function el(tag, props, ...children) {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
      else if (name === 'style') for (const [k, v] of Object.entries(value)) e.style.setProperty(k, v);
      else e.setAttribute(name, value === true ? '' : String(value));
    }
    append(e, children);
    return e;
  }

  function append(e, children) {
    for (const c of children.flat(Infinity)) {
      if (c === null || c === undefined || c === false) continue;
      e.append(c instanceof Node ? c : document.createTextNode(String(c)));
    }
  }

  // table makes a table in a frame that scrolls by itself where it is too wide.
  // A column is its head, with a # before it if it holds numbers; a cell is a
  // text, a node, or {text, class}.
  function table(caption, columns, rows, props) {
    const align = i => (columns[i].startsWith('#') ? 'num' : null);
    const cell = (c, i) => {
      const classes = [align(i), c && c.class].filter(Boolean).join(' ') || null;
      const tag = i === 0 ? 'th' : 'td';
      return el(
        tag,
        { class: classes, scope: i === 0 ? 'row' : null },
        c && c.text !== undefined && !(c instanceof Node) ? c.text : c,
      );
    };
    return el(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
      el(
        'table',
        props,
        el('caption', { class: 'quiet' }, caption),
        el(
          'thead',
          null,
          el(
            'tr',
            null,
            columns.map((c, i) => el('th', { scope: 'col', class: align(i) }, c.replace(/^#/, ''))),
          ),
        ),
        el(
          'tbody',
          null,
          rows.map(row => el('tr', { class: row.class }, (row.cells || row).map(cell))),
        ),
      ),
    );
  }

  // fold makes a part that is closed at first, and is made when it is opened.
  // Its renew() makes it again, when it is open or is opened next.
  function fold(summary, make) {
    const body = el('div', { class: 'folded' });
    const d = el('details', null, el('summary', null, summary), body);
    d.addEventListener('toggle', () => {
      if (d.open && !body.firstChild) append(body, [make()]);
    });
    d.renew = () => {
      const [left, top] = [body.firstChild?.scrollLeft, body.firstChild?.scrollTop];
      body.replaceChildren(...(d.open ? [make()] : []));
      if (body.firstChild) Object.assign(body.firstChild, { scrollLeft: left, scrollTop: top });
    };
    return d;
  }

  let last = 0;
  function id(prefix) {
    return `${prefix}-${++last}`;
  }

  // tabs makes a list of tabs of [{name, panel: () => node}]. Arrow keys move
  // between them, as in the pattern of WAI-ARIA. A panel is made when it is
  // first shown.
  function tabs(label, items) {
    const panels = el('div');
    const buttons = items.map((item, i) =>
      el(
        'button',
        {
          role: 'tab',
          type: 'button',
          id: id('tab'),
          onclick: () => choose(i),
          onkeydown: e => move(e, i),
        },
        item.name,
      ),
    );
    const made = items.map(() => null);
    function choose(n) {
      buttons.forEach((b, i) => {
        b.setAttribute('aria-selected', i === n);
        b.tabIndex = i === n ? 0 : -1;
      });
      if (!made[n]) {
        made[n] = el('div', { role: 'tabpanel', id: id('panel'), 'aria-labelledby': buttons[n].id });
        panels.append(made[n]);
        buttons[n].setAttribute('aria-controls', made[n].id);
        append(made[n], [items[n].panel()]);
      }
      made.forEach((p, i) => {
        if (p) p.hidden = i !== n;
      });
    }
    function move(e, i) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      const n = step ? (i + step + items.length) % items.length : { Home: 0, End: items.length - 1 }[e.key];
      if (n === undefined) return;
      e.preventDefault();
      choose(n);
      buttons[n].focus();
    }
    const list = items.length > 1 ? el('div', { class: 'tabs', role: 'tablist', 'aria-label': label }, buttons) : null;
    choose(0);
    return el('div', null, list, panels);
  }

  return { el, append, table, fold, tabs, id };
})();
