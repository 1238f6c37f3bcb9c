// Light or dark: as the system has it, unless chosen otherwise here.

import { byId } from './dom.js';

const CHOICE = 'logmill-theme';

/** Sets the colours, and calls `onchange` when they become others. */
export function followTheme(onchange) {
  const select = byId('theme');
  const apply = (choice) => {
    if (choice) document.documentElement.dataset.theme = choice;
    else delete document.documentElement.dataset.theme;
  };
  const saved = localStorage.getItem(CHOICE) ?? '';
  select.value = ['light', 'dark'].includes(saved) ? saved : '';
  apply(select.value);
  select.addEventListener('change', () => {
    if (select.value) localStorage.setItem(CHOICE, select.value);
    else localStorage.removeItem(CHOICE);
    apply(select.value);
    onchange();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', onchange);
}
