// Time: ranges, windows and time zones, and how a moment is written. Moments are milliseconds.

const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const LENGTHS = { minute: MINUTE, hour: HOUR, day: DAY };
/** Points of one answer of `/analytics/series` with a split. */
const POINTS_MAX = 1440;

/** The ranges to choose from: how long, in windows of what, and looked at again how often. */
export const RANGES = new Map([
  [
    '15m',
    { text: '15 min', before: 'the 15 min before', length: 15 * MINUTE, size: 'minute', pause: 2 },
  ],
  ['1h', { text: '1 h', before: 'the hour before', length: HOUR, size: 'minute', pause: 3 }],
  ['6h', { text: '6 h', before: 'the 6 h before', length: 6 * HOUR, size: 'minute', pause: 5 }],
  ['24h', { text: '24 h', before: 'the 24 h before', length: DAY, size: 'minute', pause: 15 }],
  ['7d', { text: '7 d', before: 'the 7 d before', length: 7 * DAY, size: 'hour', pause: 30 }],
  ['30d', { text: '30 d', before: 'the 30 d before', length: 30 * DAY, size: 'hour', pause: 60 }],
  ['90d', { text: '90 d', before: 'the 90 d before', length: 90 * DAY, size: 'day', pause: 60 }],
]);
export const CUSTOM = 'custom';

/** The browser's time zone. */
export const LOCAL = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

const formats = new Map();

function format(zone, options) {
  const name = `${zone} ${JSON.stringify(options)}`;
  if (!formats.has(name)) {
    formats.set(name, new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone }));
  }
  return formats.get(name);
}

/** Whether the browser knows a time zone. */
export function isZone(zone) {
  try {
    return Boolean(format(zone, {}));
  } catch {
    return false;
  }
}

const FIELDS = {
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
  hourCycle: 'h23',
};

/** What a clock on the wall shows, as if it hung in UTC. */
function wall(moment, zone) {
  const parts = format(zone, FIELDS).formatToParts(moment);
  const of = Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second);
}

/**
 * When a clock on the wall shows this, or the first later time that it does show. Asked twice: the
 * offset may change in between.
 */
function momentOf(shown, zone) {
  const guess = shown - (wall(shown, zone) - shown);
  const second = guess - (wall(guess, zone) - shown);
  return wall(second, zone) < shown ? guess : second;
}

function startOf(moment, size, zone) {
  const shown = wall(moment, zone);
  if (size === 'day') return momentOf(shown - (shown % DAY), zone);
  return moment - (shown % LENGTHS[size]) - (moment % SECOND);
}

/** The next window's start. One and a half later is within the next, however clocks are changed. */
function next(start, size, zone) {
  return size === 'minute' ? start + MINUTE : startOf(start + LENGTHS[size] * 1.5, size, zone);
}

/** The starts of the windows of a view, in order. */
export function starts({ from, to, size, zone }) {
  const found = [];
  let start = startOf(from, size, zone);
  if (start < from && size !== 'day') start = next(start, size, zone);
  for (; start < to && found.length <= POINTS_MAX; start = next(start, size, zone)) {
    found.push(start);
  }
  return found;
}

/** The window sizes that a range can be shown in. */
export function sizesFor(length) {
  const fits = (size) => length / LENGTHS[size] <= POINTS_MAX + 1 && length >= 2 * LENGTHS[size];
  const sizes = Object.keys(LENGTHS).filter(fits);
  return sizes.length > 0 ? sizes : ['day'];
}

/** What a state means at a moment: `{from, to, size, sizes, zone, range}`. */
export function resolve(state, now) {
  const zone = state.timezone ?? LOCAL;
  const range = RANGES.get(state.range);
  const length = range ? range.length : state.to - state.from;
  const sizes = sizesFor(length);
  const natural = range?.size ?? sizes.find((size) => length / LENGTHS[size] <= 800) ?? 'day';
  const size = sizes.includes(state.windowSize) ? state.windowSize : natural;
  if (!range) return { from: state.from, to: state.to, size, sizes, zone, range: undefined };
  const to = now - (now % MINUTE) + MINUTE;
  let from = to - length;
  if (size === 'hour') from = startOf(to - 1, 'hour', zone) - length + HOUR;
  // From noon to noon every day counts once, however long it is.
  if (size === 'day') {
    const noon = startOf(to - 1, 'day', zone) + 12 * HOUR;
    from = startOf(noon - length + DAY, 'day', zone);
  }
  return { from, to, size, sizes, zone, range };
}

/** RFC 3339, as the API takes it. */
export function rfc3339(moment) {
  return new Date(moment).toISOString().replace('.000Z', 'Z');
}

/** A moment as `<input type="datetime-local">` has it. */
export function toInput(moment, zone) {
  return new Date(wall(moment, zone)).toISOString().slice(0, 16);
}

/** What such an input holds, as a moment; `NaN` if it holds none. */
export function fromInput(text, zone) {
  const shown = Date.parse(`${text}Z`);
  return Number.isNaN(shown) ? NaN : momentOf(shown, zone);
}

const CLOCK = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
const DATE = { day: 'numeric', month: 'short' };
const LONG = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' };

/** A time of day. */
export function clock(moment, zone, withSeconds = false) {
  return format(zone, withSeconds ? { ...CLOCK, second: '2-digit' } : CLOCK).format(moment);
}

/** A window on the axis of a chart. */
export function tick(moment, { size, zone, from, to }) {
  if (size === 'day') return format(zone, DATE).format(moment);
  const isMidnight = wall(moment, zone) % DAY === 0;
  if (to - from > 2 * DAY)
    return format(zone, isMidnight ? DATE : { ...DATE, ...CLOCK }).format(moment);
  return isMidnight ? format(zone, DATE).format(moment) : clock(moment, zone);
}

/** A window in full, as in `Fri, 20 Nov 2026, 10:00–11:00`. */
export function full(moment, size, zone) {
  const day = format(zone, LONG).format(moment);
  if (size === 'day') return day;
  const end = size === 'hour' ? `–${clock(moment + HOUR, zone)}` : '';
  return `${day}, ${clock(moment, zone)}${end}`;
}

/** Seconds that have passed, in words. */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / SECOND));
  if (seconds < 2) return 'just now';
  if (seconds < 120) return `${seconds} s ago`;
  return `${Math.round(seconds / 60)} min ago`;
}
