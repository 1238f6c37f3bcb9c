// The panels of figures: summary, top paths and agents, people and bots, late data.

import { byId, el, fillTable, say, show } from './dom.js';
import { change, count, of, ratio, share } from './format.js';
import { clock, full } from './time.js';

/** The share of server errors that is marked. */
const ERRORS_MARKED = 0.01;
/** Kinds of agents as the API names them, in the order they are listed. */
const KINDS = [
  ['person', 'People', 'people'],
  ['ai', 'AI crawlers and assistants', 'bots'],
  ['crawler', 'Search and other crawlers', 'bots'],
  ['monitor', 'Monitors', 'bots'],
  ['client', 'Scripts and libraries', 'bots'],
  ['unknown', 'Unknown', 'unknown'],
];
const KIND_NAMES = {
  ...Object.fromEntries(KINDS),
  ai: 'AI',
  crawler: 'Crawler',
  monitor: 'Monitor',
  person: 'Person',
  client: 'Script',
};

/** What came late, as in `revised: 3 late requests in 1 batch`. A batch counts in each minute that
 * it revises, so what is longer than a minute has revisions. */
export function revised({ late, revision }, size) {
  const what = size === 'minute' ? of(revision, 'batch', 'batches') : of(revision, 'revision');
  return `revised: ${of(late, 'late request')} in ${what}`;
}

/** The tiles. They are of all requests, whatever the filter is. */
export function showSummary(summary, view, isFiltered) {
  const { requests, before, peak, late, people, bots, unknown } = summary;
  say(byId('requests-name'), isFiltered ? 'All requests' : 'Requests');
  say(byId('requests'), count(requests));
  const moved = summary.change === null ? change(requests, before.requests) : ratio(summary.change);
  const than = view.range?.before ?? 'the time before, as long';
  byId('requests-change').replaceChildren(
    el('span', { class: `change ${moved.way}` }, moved.text),
    ` from ${count(before.requests)} in ${than}`,
  );
  say(byId('peak'), peak ? count(peak.requests) : '–');
  say(byId('peak-when'), peak ? full(Date.parse(peak.windowStart), 'minute', view.zone) : '');
  say(byId('people-share'), share(people, requests));
  say(
    byId('people-sub'),
    `${count(people)} by people, ${count(bots)} by bots, ${count(unknown)} unknown`,
  );
  say(byId('late'), count(late));
  say(
    byId('late-sub'),
    late === 0
      ? 'nothing was revised'
      : `${share(late, requests)} of all, in ${of(summary.revision, 'revision')}`,
  );
  byId('late')
    .closest('.tile')
    .classList.toggle('marked', late > 0);
  showAnswers(summary);
  showKinds(summary);
}

/** How requests were answered, where the senders say. */
function showAnswers({ requestsByStatus }) {
  const statuses = Object.entries(requestsByStatus ?? {});
  show(byId('answers-tile'), statuses.length > 0);
  if (statuses.length === 0) return;
  const sum = (first) =>
    statuses
      .filter(([status]) => status.startsWith(first))
      .reduce((total, [, requests]) => total + requests, 0);
  const all = statuses.reduce((total, [, requests]) => total + requests, 0);
  const [clientErrors, serverErrors] = [sum('4'), sum('5')];
  say(byId('errors'), count(serverErrors));
  say(
    byId('errors-sub'),
    `${share(serverErrors, all)} answered 5xx, ${share(clientErrors, all)} 4xx`,
  );
  byId('answers-tile').classList.toggle('marked', serverErrors > all * ERRORS_MARKED);
}

function showKinds({ requests, requestsByKind, people, bots, unknown }) {
  const groups = [
    ['people', people],
    ['bots', bots],
    ['unknown', unknown],
  ];
  byId('split').replaceChildren(
    ...groups
      .filter(([, part]) => part > 0)
      .map(([group, part]) => {
        const bar = el('span', { class: group });
        bar.style.flexGrow = part / requests;
        return bar;
      }),
  );
  const rows = KINDS.map(([kind, name, group]) => {
    const part = requestsByKind[kind] ?? 0;
    return {
      properties: { 'data-kind': kind },
      cells: [
        el(
          'th',
          { scope: 'row' },
          el(
            'button',
            {
              type: 'button',
              class: 'key',
              'data-filter': 'kind',
              'data-key': kind,
            },
            el('i', { class: `dot ${group}`, 'aria-hidden': 'true' }),
            name,
          ),
        ),
        el('td', { class: 'number' }, count(part)),
        el('td', { class: 'number faint' }, share(part, requests)),
      ],
    };
  });
  fillTable(
    byId('kinds'),
    [{ text: 'Kind' }, { text: 'Requests', class: 'number' }, { text: 'Share', class: 'number' }],
    rows,
    '',
  );
  say(byId('kinds-note'), requests === 0 ? '' : `${share(bots, requests)} by bots`);
}

/** The AI crawlers and assistants of a summary. */
export function showAi({ ai, requests, requestsByKind }) {
  const most = ai[0]?.requests ?? 0;
  const rows = ai.map(({ key, requests: part }) => ({
    cells: [
      keyCell('userAgent', key, part / most),
      el('td', { class: 'number' }, count(part)),
      el('td', { class: 'number faint' }, share(part, requests)),
    ],
  }));
  fillTable(
    byId('ai'),
    [{ text: 'Agent' }, { text: 'Requests', class: 'number' }, { text: 'Share', class: 'number' }],
    rows,
    'None came in this range.',
  );
  say(byId('ai-note'), ai.length > 0 ? `${of(requestsByKind.ai ?? 0, 'request')} in all` : '');
}

/** A key that can be chosen as filter, with a bar as long as its share of the longest. */
function keyCell(filter, key, length, kind) {
  const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
  bar.style.width = `${length * 100}%`;
  const button = el(
    'button',
    {
      type: 'button',
      class: 'key',
      title: key,
      'data-filter': filter,
      'data-key': key,
    },
    key,
  );
  const badge =
    kind && kind !== 'person' && kind !== 'unknown'
      ? el('span', { class: `badge ${kind}` }, KIND_NAMES[kind])
      : null;
  return el('th', { scope: 'row' }, el('div', { class: 'name' }, button, badge), bar);
}

/** The most frequent paths or agents. */
export function showTop(id, filter, answer) {
  const most = answer.top[0]?.requests ?? 0;
  const rows = answer.top.map(({ key, requests, before = 0, kind }) => {
    const moved = change(requests, before);
    return {
      cells: [
        keyCell(filter, key, requests / most, kind),
        el('td', { class: 'number' }, count(requests)),
        el('td', { class: 'number faint share' }, share(requests, answer.requests)),
        el(
          'td',
          { class: `number change ${moved.way}`, title: `${count(before)} before` },
          moved.text,
        ),
      ],
    };
  });
  if (answer.others > 0) {
    rows.push({
      properties: { class: 'others' },
      cells: [
        el('th', { scope: 'row' }, `${of(answer.keys - answer.top.length, 'other')}`),
        el('td', { class: 'number' }, count(answer.others)),
        el('td', { class: 'number faint share' }, share(answer.others, answer.requests)),
        el('td', {}),
      ],
    });
  }
  fillTable(
    byId(id),
    [
      { text: id === 'paths' ? 'Path' : 'Agent' },
      { text: 'Requests', class: 'number' },
      { text: 'Share', class: 'number share' },
      { text: 'Change', class: 'number' },
    ],
    rows,
    'No requests in this range.',
  );
  say(byId(`${id}-note`), answer.keys > 0 ? `${count(answer.keys)} in all` : '');
  show(document.querySelector(`[data-csv="${id}"]`), answer.keys > 0);
}

/** Instead of a list that the API cannot give with this filter. */
export function showNoTop(id, why) {
  fillTable(byId(id), [{ text: id === 'paths' ? 'Path' : 'Agent' }], [], why);
  say(byId(`${id}-note`), '');
  show(document.querySelector(`[data-csv="${id}"]`), false);
}

/** The windows that late requests have changed. */
export function showRevised(points, view) {
  const late = points.filter((point) => point.late > 0).reverse();
  const rows = late.map((point) => ({
    properties: { class: 'late' },
    cells: [
      el('th', { scope: 'row' }, full(Date.parse(point.windowStart), view.size, view.zone)),
      el('td', { class: 'number' }, count(point.requests)),
      el('td', {}, revised(point, view.size)),
    ],
  }));
  fillTable(
    byId('revised'),
    [{ text: 'Window' }, { text: 'Requests', class: 'number' }, { text: 'What came late' }],
    rows,
    'Every request of this range came in time.',
  );
  say(byId('revised-note'), late.length > 0 ? `${of(late.length, 'window')} revised` : '');
}

/** The minutes that a live view shows, newest first; `news` is what each has more than before. */
export function showLive(points, news, zone) {
  const hasAnswers = points.some((point) => point.requestsByStatus);
  const most = Math.max(1, ...points.map((point) => point.requests));
  const rows = [...points].reverse().map((point) => {
    const start = Date.parse(point.windowStart);
    const bar = el('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.width = `${(point.requests / most) * 100}%`;
    const more = news.get(point.windowStart) ?? 0;
    return {
      properties: { class: more > 0 ? 'fresh' : null },
      cells: [
        el('th', { scope: 'row' }, clock(start, zone), bar),
        el('td', { class: 'number' }, count(point.requests)),
        el('td', { class: 'number news' }, more > 0 ? `+${count(more)}` : ''),
        ...(hasAnswers ? [el('td', { class: 'number' }, count(serverErrors(point)))] : []),
        el('td', { class: point.late > 0 ? 'late' : 'faint' }, stateOf(point)),
      ],
    };
  });
  fillTable(
    byId('live'),
    [
      { text: 'Minute' },
      { text: 'Requests', class: 'number' },
      { text: 'New', class: 'number' },
      ...(hasAnswers ? [{ text: '5xx', class: 'number' }] : []),
      { text: 'State' },
    ],
    rows,
    'No requests in the last 15 minutes.',
  );
}

function serverErrors({ requestsByStatus }) {
  return Object.entries(requestsByStatus ?? {}).reduce(
    (total, [status, requests]) => total + (status.startsWith('5') ? requests : 0),
    0,
  );
}

/** What is still to be expected of a window. */
function stateOf(point) {
  if (point.late > 0) return revised(point, 'minute');
  return point.final ? 'final' : 'counting';
}
