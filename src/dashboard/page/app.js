// Brings the page together: asks for what the state says, has it shown, and does so again while
// somebody looks. A server that goes away leaves the figures as they are, and a banner.

import { Api, Away } from './api.js';
import { askForAccess, customers, findCustomer, takeTokens } from './access.js';
import { recolour, setUpChart, showChart } from './charts.js';
import { setUpControls, showControls } from './controls.js';
import { setUpCsv } from './csv.js';
import { byId, say, show } from './dom.js';
import { of } from './format.js';
import * as live from './live.js';
import { showAi, showNoTop, showRevised, showSummary, showTop } from './panels.js';
import { Picker } from './picker.js';
import { FILTERS, State } from './state.js';
import { followTheme } from './theme.js';
import { ago, clock, resolve, rfc3339 } from './time.js';

const TOP = 10;
const STACKED = 8;
/** Pauses before a server that is away is asked again; the last one stays. */
const RETRY_SECONDS = [1, 2, 3, 5];
/** Between two looks at a store that is empty. */
const EMPTY_SECONDS = 3;

const api = new Api();
const state = new State(begin);
const picker = new Picker(
  (prefix) => customers(api, prefix).catch(() => []),
  (customer) => state.set({ customer, filter: null }),
);

/** Counts the states: what was asked for in an earlier one is not shown. */
let generation = 0;
/** What is to be done again, each thing once. */
const timers = new Map();
let updated = 0;
let away = 0;
let isPaused = false;
/** The server has told that there is no customer at all. */
let isNobodyThere = false;
/** What was last announced, so that only something else is. */
let announced = '';

/** Shows a state from its beginning. */
async function begin() {
  generation += 1;
  const mine = generation;
  timers.forEach((timer) => clearTimeout(timer));
  timers.clear();
  await attempt(mine, async () => {
    await identify();
    if (mine !== generation) return;
    await refresh(mine);
    await tail(mine);
  });
}

/** Settles whose figures these are. */
async function identify() {
  api.customer = state.now.customer;
  isNobodyThere = false;
  if (api.customer) {
    picker.present(api.customer, false);
    return;
  }
  const { name, asked, choice } = await findCustomer(api);
  api.customer = asked;
  isNobodyThere = choice === 'none';
  if (choice === 'many') state.settle({ customer: name });
  picker.present(name, choice === 'one');
}

/** Does something that needs the server, and deals with what goes wrong. */
async function attempt(mine, action) {
  try {
    await action();
    if (mine !== generation) return;
    if (away > 0) say(byId('announce'), 'The server is back.');
    away = 0;
    show(byId('banner'), false);
  } catch (error) {
    if (mine === generation) trouble(error, mine);
  }
}

function trouble(error, mine) {
  if (error instanceof Away) {
    const since = updated ? ` What is shown is from ${clock(updated, zone(), true)}.` : '';
    warn(`No answer from the server: ${error.message}.${since} Trying again …`);
    const seconds = RETRY_SECONDS[Math.min(away, RETRY_SECONDS.length - 1)];
    away += 1;
    generation += 1;
    again(generation, seconds, begin);
  } else if (isNobodyThere && error.kind === 'missing-customer-id') {
    showEmpty(null);
    again(mine, EMPTY_SECONDS, begin);
  } else if (askForAccess(error, api, picker)) {
    show(byId('banner'), false);
    generation += 1;
  } else {
    warn(`That cannot be shown: ${error.message}.`);
    generation += 1;
  }
}

function warn(text) {
  say(byId('banner'), text);
  show(byId('banner'), true);
}

function zone() {
  return resolve(state.now, api.now()).zone;
}

/** What each panel asks, for a view. */
function questions(view) {
  const { from, to, zone: timezone, size: windowSize } = view;
  const range = { from: rfc3339(from), to: rfc3339(to), timezone };
  const { filter } = state.now;
  const filtered = filter ? { ...range, [filter.name]: filter.value } : range;
  const split = FILTERS[filter?.name] ?? 'userAgent';
  const top = (by) => ({
    path: 'analytics/top',
    query: { ...filtered, by, limit: TOP, compare: 'previous' },
  });
  return {
    summary: { path: 'analytics/summary', query: range },
    series: { path: 'analytics/series', query: { ...filtered, windowSize, split, limit: STACKED } },
    totals: { path: 'analytics/series', query: { ...range, windowSize } },
    paths: top('path'),
    agents: top('userAgent'),
    live: live.QUESTION,
  };
}

/** Asks for all figures of the range, and shows each as it comes. */
async function refresh(mine) {
  const view = resolve(state.now, api.now());
  const ask = questions(view);
  const counted = FILTERS[state.now.filter?.name];
  showControls(state.now, view);
  const isCurrent = () => mine === generation;
  const on = (promise, action) =>
    promise.then((answer) => (isCurrent() ? action(answer) : undefined));
  const get = ({ path, query }) => api.get(path, query);

  const summary = get(ask.summary);
  const late = summary.then(({ late: requests }) =>
    requests > 0 ? get(ask.totals) : { points: [] },
  );
  await Promise.all([
    on(summary, (answer) => {
      showPlace(answer);
      showSummary(answer, view, counted !== undefined);
      showAi(answer);
      mark('figures');
    }),
    on(late, ({ points }) => showRevised(points, view)),
    on(Promise.all([api.series(ask.series.path, ask.series.query), late]), async ([series, { points }]) => {
      const marks = state.now.filter ? [] : points.filter((point) => point.late > 0);
      const byStart = new Map(marks.map((point) => [Date.parse(point.windowStart), point]));
      await showChart(series, byStart, view);
      mark('chart');
    }),
    counted === 'userAgent'
      ? showNoTop('paths', apart('paths', 'agent'))
      : on(get(ask.paths), (answer) => showTop('paths', 'path', answer)),
    counted === 'path'
      ? showNoTop('agents', apart('agents', 'path'))
      : on(get(ask.agents), (answer) => showTop('agents', 'userAgent', answer)),
  ]);
  if (!isCurrent()) return;
  updated = api.now();
  tell();
  again(mine, view.range?.pause, refresh);
}

function apart(these, those) {
  return `Paths and agents are counted apart, so there are no ${these} of one ${those}.`;
}

/** The live view, with a rhythm of its own. */
async function tail(mine) {
  await live.look(api, () => mine === generation, zone());
  say(byId('live-note'), isPaused ? 'paused' : 'live');
  again(mine, live.PAUSE_SECONDS, tail);
}

/** Has something done again, while somebody looks. */
function again(mine, seconds, action) {
  if (seconds === undefined || mine !== generation) return;
  const next = () => (isPaused || document.hidden ? undefined : attempt(mine, () => action(mine)));
  clearTimeout(timers.get(action));
  timers.set(action, setTimeout(next, seconds * 1000));
}

/** Shows figures, or what to do where nothing was ever counted. */
function showPlace({ customerId, requests, before }) {
  const isEmpty = requests === 0 && before.requests === 0;
  document.title = customerId ? `${customerId} – logmill` : 'logmill';
  say(byId('title'), `Requests of ${customerId}`);
  for (const id of ['access', 'nobody', 'empty']) show(byId(id), false);
  for (const id of ['figures', 'pulse']) show(byId(id), !isEmpty);
  if (isEmpty) showEmpty(customerId);
  const text = `${customerId}: ${of(requests, 'request')} in this range.`;
  const occasion = location.search;
  if (announced !== occasion) say(byId('announce'), text);
  announced = occasion;
}

function showEmpty(customer) {
  for (const id of ['access', 'nobody', 'figures', 'pulse']) show(byId(id), false);
  show(byId('empty'), true);
  say(
    byId('empty-why'),
    customer
      ? `Nothing was counted for ${customer} in this range, nor in the one before.`
      : 'No customer has sent anything.',
  );
  say(byId('empty-curl'), command(customer ?? 'acme'));
}

/** A command that sends one request of this minute. */
function command(customer) {
  const receivedAt = rfc3339(api.now() - (api.now() % 60_000));
  const entry = { receivedAt, method: 'GET', path: '/', userAgent: 'curl/8.5.0' };
  const base = new URL('logs', location.href.split('?')[0]).href;
  return [
    `curl ${base} \\`,
    "  -H 'content-type: application/json' \\",
    `  -H 'x-customer-id: ${customer}' -H 'idempotency-key: ${receivedAt}' \\`,
    `  -d '[${JSON.stringify(entry)}]'`,
  ].join('\n');
}

/** How long the first view took, for who measures. */
function mark(name) {
  if (performance.getEntriesByName(name).length === 0) performance.mark(name);
}

function tell() {
  const text = updated ? `updated ${ago(api.now() - updated)}` : '';
  say(byId('updated'), isPaused && text ? `paused, ${text}` : text);
}

function pause() {
  isPaused = !isPaused;
  byId('pause').setAttribute('aria-pressed', String(isPaused));
  tell();
  if (!isPaused) begin();
}

/** A click on a path, an agent or a kind shows only that. */
function filterBy(event) {
  const chosen = event.target.closest('[data-filter]');
  if (!chosen) return;
  state.set({ filter: { name: chosen.dataset.filter, value: chosen.dataset.key } });
}

setUpControls(state);
setUpChart();
setUpCsv(
  api,
  (panel) => questions(resolve(state.now, api.now()))[panel],
  (error) => warn(`That cannot be saved: ${error.message}.`),
);
followTheme(recolour);
takeTokens(api, begin);
byId('pause').addEventListener('click', pause);
byId('main').addEventListener('click', filterBy);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !isPaused) begin();
});
addEventListener('online', begin);
setInterval(tell, 1000);
begin();
