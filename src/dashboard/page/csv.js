// Saves what a panel shows as CSV: the API's own, asked for with the same range and filter. A series
// is saved whole or not at all.

import { byId, el, say } from './dom.js';

/** Lets the buttons save; `question(panel)` is what a panel asks: `{path, query}`. */
export function setUpCsv(api, question, onerror) {
  for (const button of document.querySelectorAll('[data-csv]')) {
    button.setAttribute('aria-label', `Save as CSV: ${button.dataset.csv}`);
    button.addEventListener('click', async () => {
      const { path, query } = question(button.dataset.csv);
      try {
        const isSeries = path.endsWith('/series');
        const csv = await (isSeries ? api.seriesCsv(path, query) : api.csv(path, query));
        save(csv, `logmill-${button.dataset.csv}.csv`);
        say(byId('announce'), 'Saved as CSV.');
      } catch (error) {
        onerror(error);
      }
    });
  }
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el('a', { href: url, download: name }).click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
