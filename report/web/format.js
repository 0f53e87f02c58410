// Numbers for people: the same three significant digits and units as the
// terminal report has (report/format.go).
const format = (() => {
  'use strict';

  // significant prints v with three significant digits.
  function significant(v) {
    const a = Math.abs(v);
    const decimals = a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    return v.toFixed(decimals);
  }

  // duration prints milliseconds with a fitting unit: "1.26 s".
  function duration(ms) {
    if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
    const a = Math.abs(ms);
    if (a === 0) return '0';
    if (a < 0.9995) return significant(ms * 1e3) + '\u00a0µs';
    if (a < 999.5) return significant(ms) + '\u00a0ms';
    if (a < 1e6) return significant(ms / 1e3) + '\u00a0s';
    return significant(ms / 6e4) + '\u00a0min';
  }

  // ticks prints the marks of an axis of milliseconds: with the unit of the
  // largest, and no digit that all of them do without.
  function ticks(values) {
    const largest = Math.max(...values.map(v => Math.abs(v ?? 0)));
    const [unit, size] = largest < 1 ? ['µs', 1e-3] : largest < 1e3 ? ['ms', 1] : largest < 6e5 ? ['s', 1e3] : ['min', 6e4];
    return values.map(v => (v === null ? '' : v === 0 ? '0' : `${trim(v / size)} ${unit}`));
  }

  // tick prints one mark of a logarithmic axis, each with a unit of its own.
  function tick(ms) {
    const a = Math.abs(ms);
    const [unit, size] = a < 1 ? ['µs', 1e-3] : a < 1e3 ? ['ms', 1] : a < 6e5 ? ['s', 1e3] : ['min', 6e4];
    return `${trim(ms / size)} ${unit}`;
  }

  function trim(v) {
    return String(Number(v.toPrecision(6)));
  }

  // count prints a whole number with a comma before every three digits.
  function count(n) {
    if (n === null || n === undefined) return '–';
    return Math.round(n)
      .toString()
      .replace(/\B(?=(\d{3})+(?!\d))/g, ',');
  }

  // percent prints a part of all. Only all of them are 100 %.
  function percent(n, all) {
    if (!all) return '–';
    return Number((Math.floor((1e4 * n) / all) / 100).toFixed(2)) + '\u00a0%';
  }

  // quantile prints the percentile of a place on the axis -log10(1-q).
  function quantile(x) {
    const left = 100 * Math.pow(10, -x); // percent above it
    const decimals = Math.max(0, Math.ceil(x) - 1) + (left >= 10 ? 0 : 1);
    return (
      (100 - left)
        .toFixed(Math.min(decimals, 8))
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, '') + '\u00a0%'
    );
  }

  // seconds prints a moment of the run: "12 s", or "1:02:03" after ten minutes.
  function seconds(s) {
    if (Math.abs(s) < 600) return Number(s.toFixed(s % 1 ? 2 : 0)) + '\u00a0s';
    const whole = Math.round(s),
      two = n => String(n).padStart(2, '0');
    return (whole >= 3600 ? Math.floor(whole / 3600) + ':' : '') + two(Math.floor(whole / 60) % 60) + ':' + two(whole % 60);
  }

  function bytes(n) {
    const mib = n / (1 << 20);
    return mib < 1024 ? significant(mib) + '\u00a0MiB' : significant(mib / 1024) + '\u00a0GiB';
  }

  // plural prints how many there are of what thing names.
  function plural(n, thing) {
    return `${count(n)} ${thing}${n === 1 ? '' : 's'}`;
  }

  // date prints an RFC 3339 time without what nobody reads.
  function date(text) {
    const d = new Date(text);
    return Number.isNaN(d.getTime()) ? text : d.toISOString().slice(0, 19).replace('T', ' ') + ' UTC';
  }

  // signed prints a difference: "+3.2 ms", "−1.0 %".
  function signed(v, print) {
    return (v > 0 ? '+' : v < 0 ? '−' : '±') + print(Math.abs(v));
  }

  return { duration, ticks, tick, trim, count, percent, quantile, seconds, bytes, plural, date, signed, significant };
})();
