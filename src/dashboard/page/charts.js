// The chart of requests per window, stacked by key, drawn by Chart.js; the same as a table; and a
// way through its windows with the keyboard.

import { byId, el, fillTable, say, show } from './dom.js';
import { count, of, share, short } from './format.js';
import { revised } from './panels.js';
import { full, starts, tick } from './time.js';

/** Colours that are told apart; the style sheet has them for light and dark. */
const COLOURS = 8;
const OTHERS = 'Others';
/** Beyond so many windows, bars would be thinner than a pixel; areas are drawn instead. */
const BARS_MAX = 400;
/** Beyond so many, gaps between bars would be as loud as the bars. */
const GAPS_MAX = 120;
/** Beyond so many, marks are small. */
const MARKS_MAX = 24;
/** How far above its bar a mark stands, as a share of the highest bar. */
const MARK_GAP = 0.03;

const canvas = byId('chart');
let chart;
/** What is drawn: windows in order, each `{start, requests, top, others, final, late, revision}`. */
let windows = [];
let keys = [];
let view;
/** What is said where there are no requests. */
let blank = '';
/** Which colour a key has; it keeps it while it is shown. */
const colours = new Map();

/** Chart.js, once it is there: the page does not wait for it to show figures. */
const library = window.Chart
  ? Promise.resolve(window.Chart)
  : new Promise((resolve) => {
      byId('chart-script').addEventListener('load', () => resolve(window.Chart));
    });

/** Shows an answer of `series`; `late` has the points with late requests, by their start. */
export async function showChart(answer, late, shown) {
  view = shown;
  keys = answer.keys;
  windows = merge(answer, late);
  colour();
  const per = `Requests per ${view.size}`;
  say(byId('chart-title'), per);
  const isPale = windows.length <= BARS_MAX && windows.some((w) => !w.final && w.requests > 0);
  const open = isPale ? ' · pale: still counting' : '';
  const cut = answer.next ? ` · not shown: ${missing()}, which is too much at once` : '';
  say(byId('chart-note'), `by ${answer.split === 'path' ? 'path' : 'agent'}${open}${cut}`);
  blank = `No requests in ${answer.next ? 'what is shown' : 'this range'}.`;
  showLegend(answer.split);
  showTable();
  const isBlank = windows.every((w) => w.requests === 0);
  say(byId('chart-blank'), blank);
  show(byId('chart-blank'), isBlank);
  canvas.setAttribute('aria-valuemax', String(Math.max(0, windows.length - 1)));
  await draw(await library);
}

/** Draws again in the colours of the theme. */
export function recolour() {
  if (chart) draw(window.Chart);
}

/** What a cut answer does not tell. */
function missing() {
  const last = windows.at(-1);
  return last ? `all after ${full(last.start, view.size, view.zone)}` : 'this range';
}

/** Every window of the view: those without requests are absent from the answer. Those behind the
 * end of a cut one are left out: nobody knows that they have none. */
function merge({ points, next }, late) {
  const found = new Map(points.map((point) => [Date.parse(point.windowStart), point]));
  const end = next ? Math.max(...found.keys()) : Infinity;
  const all = new Set([...starts(view), ...found.keys()]);
  return [...all]
    .filter((start) => start <= end)
    .sort((a, b) => a - b)
    .map((start) => {
      const point = found.get(start) ?? { requests: 0, top: {}, others: 0, final: true };
      const { late: lateRequests = 0, revision = 0 } = late.get(start) ?? {};
      return { ...point, start, late: lateRequests, revision };
    });
}

function colour() {
  for (const key of colours.keys()) if (!keys.includes(key)) colours.delete(key);
  const free = [...Array(COLOURS).keys()].filter((slot) => ![...colours.values()].includes(slot));
  for (const key of keys) if (!colours.has(key)) colours.set(key, free.shift() ?? 0);
}

/** A key's requests in a window. An agent may call itself `__proto__`. */
function partOf({ top }, key) {
  return Object.hasOwn(top, key) ? top[key] : 0;
}

function rows() {
  const stacks = keys.map((key) => ({
    name: key,
    at: (w) => partOf(w, key),
    slot: colours.get(key),
  }));
  if (windows.some((w) => w.others > 0)) {
    stacks.push({ name: OTHERS, at: (w) => w.others, slot: 'others' });
  }
  return stacks;
}

function showLegend(split) {
  byId('legend').replaceChildren(
    ...rows().map(({ name, slot }) =>
      el(
        'li',
        {},
        el('i', { class: `swatch series-${slot}`, 'aria-hidden': 'true' }),
        slot === 'others'
          ? name
          : el(
              'button',
              { type: 'button', class: 'key', 'data-filter': split, 'data-key': name },
              name,
            ),
      ),
    ),
  );
}

async function draw(Chart) {
  const css = getComputedStyle(document.documentElement);
  const ink = (name) => css.getPropertyValue(`--${name}`).trim();
  const highest = Math.max(0, ...windows.map((w) => w.requests));
  const draws = windows.length > BARS_MAX ? area : bars;
  const datasets = rows().map(({ name, at, slot }) => ({
    label: name,
    stack: 'requests',
    data: windows.map(at),
    ...draws(ink(`series-${slot}`)),
  }));
  datasets.unshift({
    label: 'Late',
    type: 'line',
    showLine: false,
    stack: 'late',
    data: windows.map((w) => (w.late > 0 ? w.requests + highest * MARK_GAP : null)),
    pointStyle: 'triangle',
    rotation: 180,
    radius: windows.filter((w) => w.late > 0).length > MARKS_MAX ? 2.5 : 5,
    hoverRadius: 6,
    backgroundColor: ink('warn'),
    borderWidth: 0,
  });
  const data = { labels: windows.map((w) => tick(w.start, view)), datasets };
  if (!chart) {
    chart = new Chart(canvas, { type: 'bar', data, options: options() });
  }
  Chart.defaults.font.family = css.fontFamily;
  chart.data = data;
  const { x, y } = chart.options.scales;
  x.ticks.color = y.ticks.color = ink('muted');
  y.grid.color = ink('line');
  x.border.color = ink('line-strong');
  Object.assign(chart.options.plugins.tooltip, {
    backgroundColor: ink('raised'),
    titleColor: ink('ink'),
    bodyColor: ink('ink'),
    footerColor: ink('muted'),
    borderColor: ink('line-strong'),
    multiKeyBackground: ink('raised'),
  });
  chart.update('none');
}

/** A bar per window, pale while the window is counting. */
function bars(colour) {
  return {
    type: 'bar',
    backgroundColor: windows.map((w) => (w.final ? colour : `${colour}99`)),
    categoryPercentage: windows.length > GAPS_MAX ? 1 : 0.84,
    barPercentage: 1,
    maxBarThickness: 48,
  };
}

function area(colour) {
  return {
    type: 'line',
    stepped: 'middle',
    backgroundColor: colour,
    borderWidth: 0,
    fill: true,
    pointRadius: 0,
  };
}

function options() {
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    layout: { padding: { top: 8 } },
    interaction: { mode: 'index', intersect: false },
    scales: {
      x: {
        stacked: true,
        grid: { display: false },
        border: {},
        ticks: { autoSkip: true, autoSkipPadding: 24, maxRotation: 0 },
      },
      y: {
        stacked: true,
        beginAtZero: true,
        border: { display: false },
        grid: {},
        ticks: { precision: 0, maxTicksLimit: 6, callback: (value) => short(value) },
      },
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        borderWidth: 1,
        padding: 10,
        cornerRadius: 6,
        boxWidth: 9,
        boxHeight: 9,
        boxPadding: 5,
        filter: ({ dataset, raw }) => dataset.stack === 'requests' && raw > 0,
        itemSort: (a, b) => b.raw - a.raw,
        callbacks: {
          title: ([item]) =>
            item ? full(windows[item.dataIndex].start, view.size, view.zone) : '',
          label: ({ dataset, raw }) => ` ${count(raw)}  ${dataset.label}`,
          footer: ([item]) => (item ? notes(windows[item.dataIndex]) : ''),
        },
      },
    },
  };
}

/** What is to be said of a window beside its parts. */
function notes(window) {
  const said = [of(window.requests, 'request')];
  if (window.late > 0) said.push(revised(window, view.size));
  if (!window.final) said.push('still counting');
  return said;
}

/** The same as a table, made when it is looked at. */
function showTable() {
  if (!byId('chart-details').open) return;
  const stacks = rows();
  const headings = [
    { text: 'Window' },
    { text: 'Requests', class: 'number' },
    ...stacks.map(({ name }) => ({ text: name, class: 'number' })),
    { text: 'State' },
  ];
  const body = [...windows]
    .reverse()
    .filter((w) => w.requests > 0)
    .map((w) => ({
      cells: [
        el('th', { scope: 'row' }, full(w.start, view.size, view.zone)),
        el('td', { class: 'number' }, count(w.requests)),
        ...stacks.map(({ at }) => el('td', { class: 'number' }, count(at(w)))),
        el(
          'td',
          { class: w.late > 0 ? 'late' : 'faint' },
          w.late > 0 ? revised(w, view.size) : w.final ? 'final' : 'counting',
        ),
      ],
    }));
  fillTable(byId('chart-table'), headings, body, blank);
}

/** A window in words, for who hears it. */
function spoken(window) {
  const parts = rows()
    .map(({ name, at }) => [name, at(window)])
    .filter(([, part]) => part > 0);
  const said = parts
    .sort((a, b) => b[1] - a[1])
    .map(([name, part]) => `${name} ${share(part, window.requests)}`);
  return [full(window.start, view.size, view.zone), ...notes(window), ...said].join(', ');
}

function look(index) {
  const window = windows[index];
  canvas.setAttribute('aria-valuenow', String(index));
  canvas.setAttribute('aria-valuetext', spoken(window));
  const bars = chart.data.datasets.map((_, datasetIndex) => ({ datasetIndex, index }));
  const area = chart.chartArea;
  chart.tooltip.setActiveElements(bars, { x: chart.scales.x.getPixelForValue(index), y: area.top });
  chart.update('none');
}

/** Left and right, a page and to the ends, as on any slider. */
export function setUpChart() {
  byId('chart-details').addEventListener('toggle', showTable);
  canvas.addEventListener('keydown', (event) => {
    const last = windows.length - 1;
    if (!chart || last < 0) return;
    const at = Number(canvas.getAttribute('aria-valuenow'));
    const to = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      PageUp: at + 10,
      PageDown: at - 10,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === 'Escape') leave();
    if (to === undefined) return;
    event.preventDefault();
    look(Math.min(Math.max(to, 0), last));
  });
  canvas.addEventListener('blur', leave);
}

function leave() {
  if (!chart) return;
  chart.tooltip.setActiveElements([], { x: 0, y: 0 });
  chart.update('none');
}
