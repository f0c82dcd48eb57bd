// The box that says what is under the pointer.
import { element } from './dom.js';

export interface TooltipRow {
  readonly label: string;
  readonly value: string;
  readonly colour?: string;
}

/** Position of the pointer in a plot of this size, in pixels. */
export interface Pointer {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const DISTANCE = 14;

export class Tooltip {
  readonly element = element('div', { class: 'tooltip', hidden: '', role: 'status' });

  show(heading: string, rows: readonly TooltipRow[], { left, top, width, height }: Pointer): void {
    const lines = rows.map(({ label, value, colour }) => {
      const mark = element('i', { class: 'mark' });
      if (colour !== undefined) mark.style.background = colour;
      return element('div', {}, ...(colour === undefined ? [] : [mark]), `${label}: `, element('b', {}, value));
    });
    this.element.replaceChildren(...(heading === '' ? [] : [element('div', {}, heading)]), ...lines);
    this.element.hidden = false;
    // On the side of the pointer that has the room.
    const { style } = this.element;
    const isRight = left > width / 2;
    style.left = isRight ? '' : `${left + DISTANCE}px`;
    style.right = isRight ? `${width - left + DISTANCE}px` : '';
    const isLow = top > height / 2;
    style.top = isLow ? '' : `${top + DISTANCE}px`;
    style.bottom = isLow ? `${height - top + DISTANCE}px` : '';
  }

  hide(): void {
    this.element.hidden = true;
  }
}
