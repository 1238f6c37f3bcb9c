// Writes numbers: whole, so that they can be compared with the API's answers digit by digit.

const counts = new Intl.NumberFormat('en-US');
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 });

/** From this change on, times say more than per cent. */
const MANIFOLD = 9;

/** All digits of a count. */
export function count(number) {
  return counts.format(number);
}

/** A count on an axis, where there is little room. */
export function short(number) {
  return compact.format(number);
}

/** A count and what it counts: `1 request`, `2 requests`. */
export function of(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A part of a whole; never 0 % of something nor 100 % of not quite all. */
export function share(part, whole) {
  if (whole === 0) return '–';
  const percent = (part / whole) * 100;
  if (part > 0 && percent < 0.1) return '<0.1 %';
  if (part < whole && percent > 99.9) return '>99.9 %';
  return `${tenths.format(percent)} %`;
}

/** How a count has changed: `{text, way}`, way one of up, down, same, fresh. */
export function change(now, before) {
  if (before === 0)
    return now === 0 ? { text: '±0 %', way: 'same' } : { text: 'new', way: 'fresh' };
  return ratio(now / before - 1);
}

/** A change as a ratio, as `summary` has it: 0.25 is a quarter more. */
export function ratio(by) {
  if (by >= MANIFOLD)
    return { text: `×${by + 1 < 100 ? tenths.format(by + 1) : short(by + 1)}`, way: 'up' };
  const percent = tenths.format(Math.abs(by) * 100);
  if (percent === '0') return { text: '±0 %', way: 'same' };
  return by > 0 ? { text: `+${percent} %`, way: 'up' } : { text: `−${percent} %`, way: 'down' };
}
