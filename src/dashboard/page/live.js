// The live view: the last minutes, looked at again every few seconds whatever the range is, and
// what each minute has more than at the look before.

import { showLive } from './panels.js';

const LENGTH = '-15m';
export const PAUSE_SECONDS = 2;

/** What the live view asks. */
export const QUESTION = { path: 'analytics/series', query: { from: LENGTH } };

let seen = new Map();
let whose;

/** Looks once. */
export async function look(api, isCurrent, zone) {
  const { points } = await api.get(QUESTION.path, QUESTION.query);
  if (!isCurrent()) return;
  const isFirst = whose !== api.customer || seen.size === 0;
  whose = api.customer;
  const more = ({ windowStart, requests }) => requests - (seen.get(windowStart) ?? 0);
  const news = new Map(points.map((point) => [point.windowStart, isFirst ? 0 : more(point)]));
  seen = new Map(points.map(({ windowStart, requests }) => [windowStart, requests]));
  showLive(points, news, zone);
}
