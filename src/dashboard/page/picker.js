// The customer picker: a text field, with a list below it where the server tells who there is.

import { byId, el, show } from './dom.js';
import { count } from './format.js';
import { CUSTOMER } from './state.js';

const SHOWN_MAX = 50;
const RULE = 'An id has up to 128 letters, digits and . _ : @ -, the first a letter or a digit.';
/** After the last key, so that a word is asked for once and not by every letter. */
const SETTLE_MS = 150;

export class Picker {
  #input = byId('customer-name');
  #list = byId('customer-list');
  #marked = -1;
  #current = '';
  #timer = 0;

  /** `search(prefix)` finds customers, `onpick(name)` is told of the choice. */
  constructor(search, onpick) {
    this.search = search;
    this.onpick = onpick;
    const input = this.#input;
    input.addEventListener('focus', () => input.select());
    input.addEventListener('click', () => this.#open(''));
    input.addEventListener('input', () => {
      input.setCustomValidity('');
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#open(input.value.trim()), SETTLE_MS);
    });
    input.addEventListener('keydown', (event) => this.#key(event));
    input.addEventListener('blur', () => {
      this.#close();
      input.value = this.#current;
    });
  }

  /** Shows whose figures these are; `isFixed` if there is nobody else to choose. */
  present(customer, isFixed) {
    this.#current = customer ?? '';
    if (document.activeElement !== this.#input) this.#input.value = this.#current;
    this.#input.readOnly = isFixed;
    show(byId('customer'), !isFixed || this.#current !== '');
  }

  /** Puts the cursor there: a name is needed before anything can be shown. */
  ask() {
    this.present(null, false);
    this.#input.focus();
  }

  async #open(prefix) {
    if (this.#input.readOnly) return;
    const found = await this.search(prefix);
    if (document.activeElement !== this.#input || found.length === 0) return this.#close();
    const options = found.slice(0, SHOWN_MAX).map(({ customerId, requests }, index) =>
      el(
        'li',
        {
          role: 'option',
          id: `customer-${index}`,
          'aria-selected': String(customerId === this.#current),
          'data-customer': customerId,
          // Before the field loses the focus, which closes the list.
          onmousedown: (event) => {
            event.preventDefault();
            this.#pick(customerId);
          },
        },
        el('span', {}, customerId),
        el('span', { class: 'number' }, count(requests)),
      ),
    );
    this.#list.replaceChildren(...options);
    this.#mark(-1);
    show(this.#list, true);
    this.#input.setAttribute('aria-expanded', 'true');
    return undefined;
  }

  #close() {
    clearTimeout(this.#timer);
    show(this.#list, false);
    this.#mark(-1);
    this.#input.setAttribute('aria-expanded', 'false');
  }

  #mark(index) {
    this.#marked = index;
    [...this.#list.children].forEach((option, at) => {
      option.classList.toggle('marked', at === index);
      if (at === index) option.scrollIntoView({ block: 'nearest' });
    });
    if (index < 0) this.#input.removeAttribute('aria-activedescendant');
    else this.#input.setAttribute('aria-activedescendant', `customer-${index}`);
  }

  #key(event) {
    const options = this.#list.hidden ? [] : [...this.#list.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      if (options.length === 0) this.#open('');
      else this.#mark((this.#marked + step + options.length) % options.length);
    } else if (event.key === 'Enter') {
      event.preventDefault();
      const name = options[this.#marked]?.dataset.customer ?? this.#input.value.trim();
      if (name !== '') this.#pick(name);
    } else if (event.key === 'Escape') {
      this.#close();
      this.#input.value = this.#current;
    }
  }

  #pick(customer) {
    const isId = CUSTOMER.test(customer);
    this.#input.setCustomValidity(isId ? '' : RULE);
    if (!this.#input.reportValidity()) return;
    this.#current = customer;
    this.#input.value = customer;
    this.#input.select();
    this.#close();
    this.onpick(customer);
  }
}
