// Finds out who is asking: named in the address, known by a token or to a gateway, an operator who
// may choose, or nobody yet.

import { Refusal } from './api.js';
import { byId, say, show } from './dom.js';

/** Customers that are listed at once; more are found by the beginning of their name. */
const LISTED = 50;

/** The customers that may be chosen, most requests first; none where the server does not tell. */
export async function customers(api, prefix = '') {
  const query = { limit: LISTED, prefix: prefix === '' ? null : prefix };
  return (await api.get('customers', query, null)).customers;
}

/**
 * Whose figures to show when the address does not say: `name` is shown, `asked` is what the API is
 * told, `choice` says whether there are others to choose. Where a token or a gateway names the
 * customer, the page names none: a gateway may take it amiss.
 */
export async function findCustomer(api) {
  const found = await customers(api);
  const name = found[0]?.customerId ?? null;
  if (found.length > 1) return { name, asked: name, choice: 'many' };
  if (name === null) return { name, asked: null, choice: 'none' };
  return { name, asked: (await isNamedFor(api)) ? null : name, choice: 'one' };
}

/** Whether the server knows the customer without being told by the page. */
async function isNamedFor(api) {
  try {
    await api.get('analytics/summary', { from: '-1m' }, null);
    return true;
  } catch (error) {
    if (error.kind === 'missing-customer-id') return false;
    throw error;
  }
}

/** Shows what a refusal asks for, if it is one that a person can help with. */
export function askForAccess(error, api, picker) {
  if (!(error instanceof Refusal)) return false;
  const isToken = error.status === 401 || error.status === 403;
  const isName = error.kind === 'missing-customer-id' || error.kind === 'invalid-customer-id';
  if (!isToken && !isName) return false;
  for (const id of ['figures', 'pulse', 'empty', 'view']) show(byId(id), false);
  show(byId('access'), isToken);
  show(byId('nobody'), isName);
  if (isToken) {
    const first = 'This server asks for the token that its operator has given you.';
    say(byId('access-why'), api.token ? sentence(error.message) : first);
    byId('token').focus();
  } else {
    say(
      byId('nobody-why'),
      error.kind === 'missing-customer-id'
        ? 'Name a customer in the field above: this server does not tell who there is.'
        : sentence(error.message),
    );
    picker.ask();
  }
  return true;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`.replace(/[.…\s]*$/, '.');
}

/** Takes a token, and has everything asked for again with it. */
export function takeTokens(api, ontoken) {
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const field = byId('token');
    api.token = field.value.trim();
    field.value = '';
    show(byId('access'), false);
    ontoken();
  });
}
