// The lines of a page or of a group of charts, each with a box that shows or hides it everywhere.
import { checkbox, element } from './dom.js';
import { onThemeChange, seriesColour, seriesDash } from './theme.js';

export function legend(title: string, labels: readonly string[], onToggle: (line: number, isShown: boolean) => void) {
  const boxes = labels.map((label, i) => {
    const text = element('span', {}, swatch(i), label);
    return checkbox(text, true, (isShown) => onToggle(i, isShown));
  });
  return element('fieldset', { class: 'legend' }, element('legend', {}, title), ...boxes);
}

/** A piece of line `index` as the charts draw it. */
function swatch(index: number): SVGSVGElement {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  const line = document.createElementNS(space, 'line');
  for (const [name, value] of Object.entries({ width: '28', height: '10', 'aria-hidden': 'true' })) {
    picture.setAttribute(name, value);
  }
  const attributes = { x1: '0', x2: '28', y1: '5', y2: '5', 'stroke-width': '3' };
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  const paint = () => line.setAttribute('stroke', seriesColour(index));
  line.setAttribute('stroke-dasharray', seriesDash(index).join(' '));
  paint();
  onThemeChange(paint);
  picture.append(line);
  return picture;
}
