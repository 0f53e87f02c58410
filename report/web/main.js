// Puts the page together. What stands in the HTML already, the verdict and
// its reasons, is readable without any of this.
(async () => {
  'use strict';
  const main = document.getElementById('main');
  document.getElementById('tools').append(theme.toggle());
  try {
    const data = await load.data();
    const sections = data.runs ? compare.page(data) : run.page(data);
    const nav = document.getElementById('nav');
    nav.append(...sections.map(s => dom.el('a', { href: `#${s.id}` }, s.name)));
    nav.hidden = false;
    main.replaceChildren(
      ...sections.map(s =>
        dom.el(
          'section',
          { id: s.id, 'aria-labelledby': `${s.id}-title` },
          dom.el('h2', { id: `${s.id}-title` }, s.title || s.name),
          s.node,
        ),
      ),
    );
    document.documentElement.dataset.ready = 'true';
  } catch (err) {
    main.replaceChildren(dom.el('p', { class: 'trouble', role: 'alert' }, err.message));
    document.documentElement.dataset.ready = 'failed';
  }
})();
