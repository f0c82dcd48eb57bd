// Elements of the page. Text only ever becomes text: nothing that a server or a model said is read as HTML.

type Child = Node | string;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(label: string, title: string, onClick: () => void): HTMLButtonElement {
  const made = element('button', { type: 'button', title, 'aria-label': title }, label);
  made.addEventListener('click', onClick);
  return made;
}

/** A box to tick, with its label. */
export function checkbox(label: Child, isChecked: boolean, onChange: (isChecked: boolean) => void): HTMLLabelElement {
  const box = element('input', { type: 'checkbox' });
  box.checked = isChecked;
  box.addEventListener('change', () => onChange(box.checked));
  return element('label', {}, box, label);
}

export function select(label: string, choices: readonly string[], onChange: (index: number) => void): HTMLLabelElement {
  const list = element('select', { 'aria-label': label }, ...choices.map((choice) => element('option', {}, choice)));
  list.addEventListener('change', () => onChange(list.selectedIndex));
  return element('label', {}, `${label} `, list);
}
