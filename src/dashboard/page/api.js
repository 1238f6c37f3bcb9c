// Asks the query API. Answers are kept with their ETag, so that what has not changed is not sent
// again; a server that is away is told apart from one that refuses.

const TIMEOUT_MS = 20_000;
/** A clock that differs by more than a slow answer explains is wrong. */
const CLOCK_SLACK_MS = 5_000;
/** Answers kept for `If-None-Match`. */
const KEPT_MAX = 40;
/** Pages of one answer that are read; each may take the server a second. */
const PAGES_MAX = 10;
const TOKEN = 'logmill-token';

/** The server has answered, and it has not given what was asked for. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.status = status;
    this.kind = String(problem.type ?? '').replace('/problems/', '');
  }
}

/** The server cannot be reached, or says to try again. */
export class Away extends Error {}

export class Api {
  #kept = new Map();
  /** Whose figures; `null` leaves it to the token, or to a gateway. */
  customer = null;
  #ahead = 0;

  /** The time as the server has it: ranges that end now end at its now. */
  now() {
    return Date.now() + this.#ahead;
  }

  get token() {
    return sessionStorage.getItem(TOKEN);
  }

  set token(token) {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
    this.#kept.clear();
  }

  /** An answer as JSON. `customer` is for a question about another one, or about none. */
  async get(path, query = {}, customer = this.customer) {
    const url = address(path, query);
    const name = `${customer} ${url}`;
    const kept = this.#kept.get(name);
    const headers = this.#headers('application/json', customer);
    if (kept) headers['if-none-match'] = kept.etag;
    const response = await this.#ask(url, headers);
    if (response.status === 304 && kept) return kept.answer;
    if (!response.ok) throw await refusal(response);
    const answer = await response.json().catch(() => {
      throw new Away('the answer broke off');
    });
    this.#keep(name, response.headers.get('etag'), answer);
    return answer;
  }

  /** A series with the points of all its pages. If there are too many, `next` is still set, and
   * nothing is known of the windows after the last point. */
  async series(path, query) {
    const first = await this.get(path, query);
    let { points, next } = first;
    for (let pages = 1; next && pages < PAGES_MAX; pages += 1) {
      const page = await this.get(path, { ...query, cursor: next });
      points = points.concat(page.points.map((point) => within(first.keys, point)));
      next = page.next;
    }
    return { ...first, points, next };
  }

  /** A series as CSV, all of it, to be saved. */
  async seriesCsv(path, query) {
    const parts = [];
    for (let url = address(path, query); url; ) {
      if (parts.length === PAGES_MAX) {
        throw new Error('it is too much at once; choose a shorter range, or logmill export series');
      }
      const { text, next } = await this.#csv(url);
      // Every page has a head.
      parts.push(parts.length === 0 ? text : text.slice(text.indexOf('\n') + 1));
      url = next && `${path}${next}`;
    }
    return new Blob(parts, { type: 'text/csv' });
  }

  /** A list as CSV, as long as `query` says. */
  async csv(path, query) {
    const { text } = await this.#csv(address(path, query));
    return new Blob([text], { type: 'text/csv' });
  }

  /** A page as CSV, and what to ask for the next one. */
  async #csv(url) {
    const response = await this.#ask(url, this.#headers('text/csv', this.customer));
    if (!response.ok) throw await refusal(response);
    const [, next] = /<[^>?]*(\?[^>]*)>; rel="next"/.exec(response.headers.get('link')) ?? [];
    return { text: await response.text(), next };
  }

  async #ask(url, headers) {
    const response = await ask(url, headers);
    const ahead = Date.parse(response.headers.get('date')) - Date.now();
    this.#ahead = Math.abs(ahead) > CLOCK_SLACK_MS ? ahead : 0;
    return response;
  }

  #headers(accept, customer) {
    const headers = { accept };
    if (customer) headers['x-customer-id'] = customer;
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    return headers;
  }

  #keep(name, etag, answer) {
    this.#kept.delete(name);
    if (!etag) return;
    this.#kept.set(name, { etag, answer });
    if (this.#kept.size > KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value);
  }
}

/** A point of a further page: keys that became frequent after the first count with the others. */
function within(keys, point) {
  const parts = Object.entries(point.top);
  const isKey = ([key]) => keys.includes(key);
  const rest = parts.filter((part) => !isKey(part)).reduce((sum, [, count]) => sum + count, 0);
  const top = Object.fromEntries(parts.filter(isKey));
  return { ...point, top, others: point.others + rest };
}

/** Relative, so that the page works below any prefix that a gateway gives it. */
function address(path, query) {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(set).toString();
  return text === '' ? path : `${path}?${text}`;
}

async function ask(url, headers) {
  let response;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(url, { headers, signal, cache: 'no-store', credentials: 'same-origin' });
  } catch {
    throw new Away('the server cannot be reached');
  }
  if (![429, 502, 503, 504].includes(response.status)) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Away(problem.detail ?? `the server answered ${response.status}`);
}

async function refusal(response) {
  return new Refusal(response.status, await response.json().catch(() => ({})));
}
