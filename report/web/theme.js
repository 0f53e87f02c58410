// Colours. They are CSS variables, so that one place has them for light and
// for dark; what is drawn on a canvas asks for them here each time it is drawn.
const theme = (() => {
  'use strict';

  const listeners = [];
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const choices = ['auto', 'light', 'dark'];
  const key = 'muster-theme';
  let cache = {};

  // color returns the value of a variable of style.css, such as "--ink".
  function color(name) {
    return (cache[name] ??= getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  }

  // onchange calls do whenever the colours have changed.
  function onchange(listener) {
    listeners.push(listener);
  }

  function changed() {
    cache = {};
    listeners.forEach(l => l());
  }

  // The choice is kept where the browser lets a page from disk keep anything.
  function stored() {
    try {
      return localStorage.getItem(key) || 'auto';
    } catch {
      return 'auto';
    }
  }

  function choose(choice) {
    if (choice === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', choice);
    try {
      localStorage.setItem(key, choice);
    } catch {
      /* not kept */
    }
    changed();
  }

  // toggle makes the button that goes through the choices.
  function toggle() {
    let choice = choices.includes(stored()) ? stored() : 'auto';
    const button = dom.el('button', {
      type: 'button',
      class: 'theme',
      onclick: () => show(choices[(choices.indexOf(choice) + 1) % choices.length]),
    });
    function show(next) {
      choice = next;
      choose(choice);
      button.textContent = `Theme: ${choice}`;
    }
    show(choice);
    return button;
  }

  dark.addEventListener('change', changed);
  return { color, onchange, toggle };
})();
