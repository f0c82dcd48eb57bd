// The parts of a page that are text: headings, cards, failures, tables, facts.
import { element } from './dom.js';
import type { Facts, ServingRun, Table } from './report-data.js';

export function section(title: string, ...children: readonly Node[]): HTMLElement {
  return element('section', {}, element('h2', {}, title), ...children);
}

/** One run: cards. Several: a table, a column for each. */
export function summary(runs: readonly ServingRun[]): HTMLElement {
  if (runs.length === 1) {
    const cards = runs[0]!.cards.map(({ label, value }) =>
      element('div', { class: 'card' }, element('span', {}, label), element('b', {}, value)),
    );
    return section('Summary', element('div', { class: 'cards' }, ...cards));
  }
  const labels = [...new Set(runs.flatMap(({ cards }) => cards.map(({ label }) => label)))];
  const rows = labels.map((label) => [
    label,
    ...runs.map(({ cards }) => cards.find((card) => card.label === label)?.value ?? '–'),
  ]);
  return section('Summary', table({ title: '', columns: ['', ...runs.map(({ label }) => label)], rows }));
}

/** Failures of every run by message; undefined where none failed. */
export function failures(runs: readonly ServingRun[]): HTMLElement | undefined {
  const lists = runs
    .filter((run) => run.failures.length > 0)
    .map((run) =>
      element(
        'div',
        { class: 'failures' },
        ...(runs.length > 1 ? [element('h3', {}, run.label)] : []),
        element(
          'ul',
          {},
          ...run.failures.map(({ message, count }) => element('li', {}, element('b', {}, `${count} × `), message)),
        ),
      ),
    );
  return lists.length === 0 ? undefined : section('Failures by message', ...lists);
}

export function table({ title, columns, rows, note }: Table): HTMLElement {
  const head = element('tr', {}, ...columns.map((column) => element('th', { scope: 'col' }, column)));
  const body = rows.map(([name = '', ...cells]) =>
    element('tr', {}, element('th', { scope: 'row' }, name), ...cells.map((cell) => element('td', {}, cell))),
  );
  const caption = title === '' ? [] : [element('caption', {}, title)];
  const made = element('table', {}, ...caption, element('thead', {}, head), element('tbody', {}, ...body));
  const holder = element('div', { class: 'scroll', tabindex: '0' }, made);
  return note === undefined ? holder : element('div', {}, holder, element('p', { class: 'note' }, note));
}

export function about(groups: readonly Facts[]): HTMLElement {
  const lists = groups.map(({ title, facts }) =>
    element(
      'div',
      {},
      element('h3', {}, title),
      element('dl', {}, ...facts.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])),
    ),
  );
  return section('About this run', element('div', { class: 'about' }, ...lists));
}
