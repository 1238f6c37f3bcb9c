// The controls above the figures: range, window size, time zone and filter. They show the state,
// and change it.

import { byId, el, say, show } from './dom.js';
import { CUSTOM, LOCAL, RANGES, fromInput, resolve, toInput } from './time.js';

const SIZES = { minute: 'Minutes', hour: 'Hours', day: 'Days' };
const NAMES = { path: 'Path', pathPrefix: 'Paths under', userAgent: 'Agent', kind: 'Kind' };

/** A range is being typed: what is shown meanwhile must not take the fields away. */
let isTyping = false;

/** Makes the controls change this state. */
export function setUpControls(state) {
  const texts = [...[...RANGES].map(([name, { text }]) => [name, text]), [CUSTOM, 'From–to']];
  byId('ranges').append(
    ...texts.map(([name, text]) =>
      el(
        'label',
        {},
        el('input', { type: 'radio', name: 'range', value: name }),
        el('span', {}, text),
      ),
    ),
  );
  byId('ranges').addEventListener('change', (event) => {
    const range = event.target.value;
    isTyping = range === CUSTOM;
    if (isTyping) openCustom(state);
    else state.set({ range, from: null, to: null });
  });
  byId('size').addEventListener('change', (event) => {
    state.set({ windowSize: event.target.value || null });
  });
  byId('timezone').addEventListener('change', (event) => {
    state.set({ timezone: event.target.value || null });
  });
  byId('filter-off').addEventListener('click', () => {
    state.set({ filter: null });
    byId('main').focus({ preventScroll: true });
  });
  byId('view').addEventListener('submit', (event) => {
    event.preventDefault();
    takeCustom(state);
  });
}

/** Offers what is shown at the moment, to be changed. */
function openCustom(state) {
  const view = resolve(state.now, Date.now());
  byId('from').value = toInput(view.from, view.zone);
  byId('to').value = toInput(view.to, view.zone);
  say(byId('custom-wrong'), '');
  show(byId('custom'), true);
  byId('from').focus();
}

function takeCustom(state) {
  const { zone } = resolve(state.now, Date.now());
  const [from, to] = ['from', 'to'].map((id) => fromInput(byId(id).value, zone));
  const isRange = from < to;
  say(byId('custom-wrong'), isRange ? '' : 'The end must be after the beginning.');
  if (!isRange) return;
  isTyping = false;
  state.set({ range: CUSTOM, from, to });
}

/** Shows the state. */
export function showControls(now, view) {
  show(byId('view'), true);
  for (const radio of byId('ranges').querySelectorAll('input')) {
    radio.checked = radio.value === (isTyping ? CUSTOM : now.range);
  }
  show(byId('custom'), isTyping || now.range === CUSTOM);
  if (!isTyping && now.range === CUSTOM && !byId('custom').contains(document.activeElement)) {
    byId('from').value = toInput(view.from, view.zone);
    byId('to').value = toInput(view.to, view.zone);
  }
  const sizes = view.sizes.map((size) => [size, SIZES[size]]);
  options(byId('size'), sizes, view.size);
  const zones = [...new Set([LOCAL, 'UTC', view.zone])];
  const zoneNames = zones.map((zone) => [zone === LOCAL ? '' : zone, zone.replaceAll('_', ' ')]);
  options(byId('timezone'), zoneNames, view.zone === LOCAL ? '' : view.zone);
  show(byId('filter'), now.filter !== null);
  if (now.filter) say(byId('filter-text'), `${NAMES[now.filter.name]}: ${now.filter.value}`);
}

/** Sets the options of a select, if they are others, and the chosen one. */
function options(select, choices, chosen) {
  const isSame =
    select.length === choices.length &&
    choices.every(([value], at) => select.options[at].value === value);
  if (!isSame) {
    select.replaceChildren(...choices.map(([value, text]) => el('option', { value }, text)));
  }
  select.value = chosen;
}
