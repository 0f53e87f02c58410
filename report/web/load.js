// The data of the page: JSON, gzipped, in base64, in a script element that no
// browser runs. Nothing is fetched.
const load = (() => {
  'use strict';

  async function data() {
    if (typeof DecompressionStream === 'undefined') {
      throw new Error(
        'This browser cannot unpack the data in this page. It takes Chrome or Edge 80, Firefox 113, Safari 16.4, or newer. The same numbers are in summary.json and summary.md beside this file.',
      );
    }
    const text = document.getElementById('data').textContent.trim();
    const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    return JSON.parse(await new Response(stream).text());
  }

  return { data };
})();
