// What is shown: customer, range, time zone, window size and filter. The address holds it, so a
// link shows the same to whoever opens it, and the browser's back and forward work.

import { CUSTOM, RANGES, isZone, rfc3339 } from './time.js';

const SIZES = ['minute', 'hour', 'day'];
const DEFAULT_RANGE = '1h';
/** What a customer's id is made of. */
export const CUSTOMER = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;
/** The filters of the API, of which one can be set, and what each looks at. */
export const FILTERS = {
  path: 'path',
  pathPrefix: 'path',
  userAgent: 'userAgent',
  kind: 'userAgent',
};

/** Reads an address; what it does not say, or says wrongly, is as nobody had chosen. */
export function parse(search) {
  const query = new URLSearchParams(search);
  const from = Date.parse(query.get('from') ?? '');
  const to = Date.parse(query.get('to') ?? '');
  const isCustom = from < to;
  const named = Object.keys(FILTERS).find((name) => query.has(name));
  const timezone = query.get('timezone');
  return {
    customer: CUSTOMER.test(query.get('customer')) ? query.get('customer') : null,
    range: isCustom ? CUSTOM : RANGES.has(query.get('range')) ? query.get('range') : DEFAULT_RANGE,
    from: isCustom ? from : null,
    to: isCustom ? to : null,
    timezone: timezone && isZone(timezone) ? timezone : null,
    windowSize: SIZES.includes(query.get('windowSize')) ? query.get('windowSize') : null,
    filter: named ? { name: named, value: query.get(named) } : null,
  };
}

/** Writes what an address says, which `parse` reads. */
export function toSearch(state) {
  const query = new URLSearchParams();
  if (state.customer) query.set('customer', state.customer);
  if (state.range === CUSTOM) {
    query.set('from', rfc3339(state.from));
    query.set('to', rfc3339(state.to));
  } else if (state.range !== DEFAULT_RANGE) {
    query.set('range', state.range);
  }
  if (state.timezone) query.set('timezone', state.timezone);
  if (state.windowSize) query.set('windowSize', state.windowSize);
  if (state.filter) query.set(state.filter.name, state.filter.value);
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** The state of this tab. `onchange` is called whenever it is another one. */
export class State {
  constructor(onchange) {
    this.now = parse(location.search);
    this.onchange = onchange;
    addEventListener('popstate', () => {
      this.now = parse(location.search);
      this.onchange();
    });
  }

  /** Changes some of it, as a step that "back" undoes. */
  set(changes) {
    this.#write(changes, 'pushState');
    this.onchange();
  }

  /** Fills in what was not chosen: no step of its own. */
  settle(changes) {
    this.#write(changes, 'replaceState');
  }

  #write(changes, method) {
    this.now = { ...this.now, ...changes };
    history[method](null, '', location.pathname + toSearch(this.now));
  }
}
