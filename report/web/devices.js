// The map of a run's devices: what it can show, and what it says of each. In a
// very large fleet a cell of it is of several devices, and has the worst of them.
const devices = (() => {
  'use strict';

  function figure(data) {
    const d = data.devices;
    if (!d || !d.ids.length) return null;
    const views = data.summary.jobs.flatMap((j, i) => jobViews(j, d.jobs[i], d)).sort((a, b) => b.of - a.of);
    const connects = d.connect.map(us => (us < 0 ? null : us / 1e3));
    views.push({ name: 'connect latency', value: i => connects[i], print: format.duration, scale: 'log' });
    if (d.returns.some(n => n > 0))
      views.push({ name: 'times it came back', value: i => d.returns[i], print: format.count, scale: 'linear' });
    const many = d.each > 1;
    return heatmap.map({
      n: d.ids.length,
      views,
      unit: many ? 'cell' : 'device',
      about: many
        ? `${format.count(d.devices)} devices, ${format.count(d.each)} in a cell: it has the colour of the worst of them.`
        : '',
      sample: d.ids[0],
      name: i => nameOf(d, i),
      find: text => find(d, text),
      describe: describer(data),
    });
  }

  // nameOf names a device, or the first and the last of a cell.
  function nameOf(d, i) {
    return d.last && d.last[i] !== d.ids[i] ? `${d.ids[i]} … ${d.last[i]}` : d.ids[i];
  }

  // find gives the cell of a device by its name, or by a part of it; -1 if
  // there is none. In cells of many only some are named; the others are found
  // if names are in the order of the fleet, as those with a number in them are.
  function find(d, text) {
    const exact = d.ids.indexOf(text);
    if (exact >= 0) return exact;
    if (!d.last) return d.ids.findIndex(id => id.includes(text));
    const within = d.ids.findIndex((id, i) => id.length === text.length && id <= text && text <= d.last[i]);
    if (within >= 0) return within;
    return d.ids.findIndex((id, i) => [id, d.last[i], d.slowest[i]].some(name => name.includes(text)));
  }

  // jobViews are the maps of one job.
  function jobViews(j, d, all) {
    const at = places(d, all.ids.length);
    const ms = column => i => {
      const k = at(i);
      return k < 0 || column[k] < 0 ? null : column[k] / 1e3;
    };
    const views = [];
    if (d.max.some(v => v >= 0))
      views.push({ of: j.targeted, name: `${j.name}: longest response`, value: ms(d.max), print: format.duration, scale: 'log' });
    if (d.median.some(v => v >= 0) && j.byRepetition.length > 1)
      views.push({
        of: j.targeted,
        name: `${j.name}: ${all.each > 1 ? 'largest ' : ''}median response`,
        value: ms(d.median),
        print: format.duration,
        scale: 'log',
      });
    if (d.service.some(v => v >= 0))
      views.push({
        of: j.targeted,
        name: `${j.name}: longest service`,
        value: ms(d.service),
        print: format.duration,
        scale: 'log',
      });
    const worst = d.max.map((_, k) => {
      let w = -1;
      model.outcomes.forEach((o, c) => {
        if (d.outcomes[o.key]?.[k]) w = c;
      });
      return w;
    });
    views.push({
      of: j.targeted,
      name: `${j.name}: worst outcome`,
      classes: model.outcomes,
      count: all.each > 1 ? counts(d) : null,
      class: i => {
        const k = at(i);
        return k < 0 ? -1 : worst[k];
      },
    });
    return views;
  }

  // counts tells how many executions ended in each way: in cells of many, how
  // many cells had one that did says little.
  function counts(d) {
    return model.outcomes.map(o => (d.outcomes[o.key] || []).reduce((a, n) => a + n, 0));
  }

  // places finds a cell's place in the columns of a job.
  function places(d, n) {
    if (!d.cells) return d.max.length ? i => i : () => -1;
    const at = new Int32Array(n).fill(-1);
    d.cells.forEach((cell, k) => {
      at[cell] = k;
    });
    return i => at[i];
  }

  // describer says of a cell what is known: its name, its group, and what it
  // had of each job.
  function describer(data) {
    const { summary: s, devices: d, run } = data;
    const at = d.jobs.map(j => places(j, d.ids.length));
    return i => [
      nameOf(d, i),
      ...((run.groups || []).length > 1 && d.group[i] >= 0 ? [`group ${run.groups[d.group[i]].name}`] : []),
      ...s.jobs.flatMap((j, n) => {
        const k = at[n](i);
        return k < 0 ? [] : [ofJob(j, d.jobs[n], k)];
      }),
      ofConnect(d, i),
    ];
  }

  // ofJob says what a cell had of a job, and which of its devices were the worst.
  function ofJob(j, c, k) {
    const ends = model.outcomes
      .filter(o => c.outcomes[o.key]?.[k])
      .map(o => `${o.name} ${format.count(c.outcomes[o.key][k])}`)
      .join(', ');
    const named = c.named[k] ? ` (${c.named[k].join(', ')}${c.named[k].length > 2 ? ', …' : ''})` : '';
    return (
      `${j.name}: ${ends}${named}` +
      (c.max[k] < 0 ? '' : `, response up to ${format.duration(c.max[k] / 1e3)}${of(c.slowest, k)}`) +
      (c.service[k] < 0 ? '' : `, service up to ${format.duration(c.service[k] / 1e3)}`)
    );
  }

  function of(names, i) {
    return names.length ? ` (${names[i]})` : '';
  }

  function ofConnect(d, i) {
    const without = d.without[i] ? `${format.count(d.without[i])} never connected` : '';
    if (d.connect[i] < 0) return d.each > 1 ? without : 'never connected';
    return (
      `connected in ${d.each > 1 ? 'up to ' : ''}${format.duration(d.connect[i] / 1e3)}${of(d.slowest, i)}` +
      (without ? `, ${without}` : '') +
      (d.returns[i] ? `, came back ${format.plural(d.returns[i], 'time')}` : '')
    );
  }

  return { figure };
})();
