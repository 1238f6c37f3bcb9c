// Makes and changes elements. Text goes in as text, always: names of paths and agents are written
// by whoever sends requests.

/** The element with this id; the page has it. */
export function byId(id) {
  return document.getElementById(id);
}

/** An element with properties (`class`, `dataset`, attributes, `on…` listeners) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text, if it is another one: nothing is selected or announced anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows or hides. */
export function show(element, shown) {
  element.hidden = !shown;
}

/** A table's content: headings, and rows of cells, each a text or a node. Whoever has the focus
 * in a row keeps it if the row is still there. */
export function fillTable(table, headings, rows, empty) {
  const held = document.activeElement;
  const key = table.contains(held) ? held.dataset.key : undefined;
  const head = headings.map(({ text, ...rest }) => el('th', { scope: 'col', ...rest }, text));
  const body = rows.map((row) => el('tr', row.properties, ...row.cells));
  const none = el('tr', {}, el('td', { colspan: headings.length, class: 'none' }, empty));
  table.replaceChildren(
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...(rows.length > 0 ? body : [none])),
  );
  if (key === undefined) return;
  const again = [...table.querySelectorAll('[data-key]')].find((e) => e.dataset.key === key);
  again?.focus({ preventScroll: true });
}
