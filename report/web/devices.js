// The map of a run's devices: what it can show, and what it says of each.
const devices = (() => {
  'use strict';

  function figure(data) {
    const d = data.devices;
    if (!d || !d.ids.length) return null;
    const views = data.summary.jobs.flatMap((j, i) => jobViews(j, d.jobs[i], d.ids.length)).sort((a, b) => b.of - a.of);
    const connects = d.connect.map(us => (us < 0 ? null : us / 1e3));
    views.push({ name: 'connect latency', value: i => connects[i], print: format.duration, scale: 'log' });
    if (d.returns.some(n => n > 0))
      views.push({ name: 'times it came back', value: i => d.returns[i], print: format.count, scale: 'linear' });
    return heatmap.map({ n: d.ids.length, views, name: i => d.ids[i], describe: describer(data) });
  }

  // jobViews are the maps of one job.
  function jobViews(j, d, n) {
    const at = places(d, n);
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
        name: `${j.name}: median response`,
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
      class: i => {
        const k = at(i);
        return k < 0 ? -1 : worst[k];
      },
    });
    return views;
  }

  // places finds a device's place in the columns of a job.
  function places(d, n) {
    if (!d.devices) return d.max.length ? i => i : () => -1;
    const at = new Int32Array(n).fill(-1);
    d.devices.forEach((device, k) => {
      at[device] = k;
    });
    return i => at[i];
  }

  // describer says of a device what is known: its name, its group, and what it
  // had of each job.
  function describer(data) {
    const { summary: s, devices: d, run } = data;
    const at = d.jobs.map(j => places(j, d.ids.length));
    return i => [
      d.ids[i],
      ...((run.groups || []).length > 1 && d.group[i] >= 0 ? [`group ${run.groups[d.group[i]].name}`] : []),
      ...s.jobs.flatMap((j, n) => {
        const k = at[n](i);
        if (k < 0) return [];
        const c = d.jobs[n];
        const ends = model.outcomes
          .filter(o => c.outcomes[o.key]?.[k])
          .map(o => `${o.name} ${c.outcomes[o.key][k]}`)
          .join(', ');
        return [
          `${j.name}: ${ends}` +
            (c.max[k] < 0 ? '' : `, response up to ${format.duration(c.max[k] / 1e3)}`) +
            (c.service[k] < 0 ? '' : `, service up to ${format.duration(c.service[k] / 1e3)}`),
        ];
      }),
      d.connect[i] < 0
        ? 'never connected'
        : `connected in ${format.duration(d.connect[i] / 1e3)}` +
          (d.returns[i] ? `, came back ${format.plural(d.returns[i], 'time')}` : ''),
    ];
  }

  return { figure };
})();
