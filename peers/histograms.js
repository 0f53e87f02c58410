'use strict';
// Reads an interval log with hdr-histogram-js, merges the intervals of each tag, and prints their percentiles in µs.
const fs = require('fs');
const { HistogramLogReader, build } = require('hdr-histogram-js');

const reader = new HistogramLogReader(fs.readFileSync(process.argv[2], 'utf8'), 64);
const merged = {};
let intervals = 0;
for (let h = reader.nextIntervalHistogram(); h; h = reader.nextIntervalHistogram()) {
  intervals++;
  merged[h.tag] ??= build({ lowestDiscernibleValue: 1, highestTrackableValue: 24 * 3600 * 1e6, numberOfSignificantValueDigits: 3, bitBucketSize: 64 });
  merged[h.tag].add(h);
}
const tags = {};
for (const [tag, h] of Object.entries(merged)) {
  tags[tag] = { count: h.totalCount };
  for (const [name, p] of [['p50', 50], ['p90', 90], ['p99', 99], ['p999', 99.9]]) {
    tags[tag][name] = h.getValueAtPercentile(p);
  }
}
console.log(JSON.stringify({ intervals, tags }));
