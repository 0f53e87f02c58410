// The page of one run, section by section.
const run = (() => {
  'use strict';

  // page returns the sections as [{id, name, node}]; without a node there is
  // nothing to say.
  function page(data) {
    const s = data.summary;
    return [
      { id: 'thresholds', name: 'Verdict', node: overview.verdict(s) },
      { id: 'schedule', name: 'Schedule', node: overview.schedule(data) },
      { id: 'ledger', name: 'Ledger', node: overview.ledger(s) },
      { id: 'jobs', name: 'Jobs', node: jobs.all(data) },
      { id: 'devices', name: 'Devices', node: devices.figure(data) },
      { id: 'connect', name: 'Connect', node: host.connect(data) },
      { id: 'faults', name: 'Faults', node: host.faults(s) },
      { id: 'generator', name: 'Generator', node: host.generator(data) },
      { id: 'scenario', name: 'Scenario', node: host.scenario(data) },
    ].filter(section => section.node);
  }

  return { page };
})();
