// Every request as a bar: its wait in the client, its prefill, its decode. uPlot gives axes and zoom; the bars are painted here.
import { plotAxis, X_AXIS_SIZE, Y_AXIS_SIZE } from './axis.js';
import { button, element, select } from './dom.js';
import { formatMoment, formatNumber, formatSeconds } from './format.js';
import type { Timeline } from './report-data.js';
import { colour, onThemeChange } from './theme.js';
import { Tooltip, type TooltipRow } from './tooltip.js';

export interface TimelineRun {
  readonly label: string;
  readonly duration: number;
  readonly timeline: Timeline;
  readonly steadyState?: readonly [from: number, to: number] | undefined;
}

const ROW_HEIGHT = 14;
const LEAST_HEIGHT = 160;
const MOST_HEIGHT = 620;
const FRAME = 60;
const NARROWEST = 200;
/** Least width and height in pixels: of a wait, of a phase, of a failure. */
const NOTHING: readonly [number, number] = [0, 0];
const SLIVER: readonly [number, number] = [1, 1];
const MARK: readonly [number, number] = [6, 3];
/** From this height of a row on, failures are crossed too. */
const CROSSED = 8;
const ZOOM = 2;
const PAN = 0.25;

type Layout = 'requests' | 'lanes';

export class TimelineChart {
  readonly element: HTMLElement;
  readonly #runs: readonly TimelineRun[];
  readonly #holder = element('div', { class: 'chart', tabindex: '0', role: 'img' });
  readonly #note = element('span');
  readonly #tooltip = new Tooltip();
  #run: TimelineRun;
  #layout: Layout = 'requests';
  /** Row of each request. */
  #rows: readonly number[] = [];
  /** Requests of each row, by rising time. */
  #byRow: readonly (readonly number[])[] = [];
  #plot: uPlot | undefined;

  constructor(runs: readonly TimelineRun[]) {
    this.#runs = runs;
    this.#run = runs[0]!;
    const caption = element('figcaption', {}, element('strong', {}, 'Request timeline'), this.#note);
    this.element = element('figure', { 'data-chart': 'timeline' }, caption, this.#controls(), key(), this.#holder);
    this.#holder.setAttribute(
      'aria-label',
      'Timeline of requests; plus and minus zoom, arrow keys move, 0 shows everything',
    );
    this.#holder.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#fit()).observe(this.#holder);
    onThemeChange(() => this.#draw());
    this.#arrange();
  }

  #controls(): HTMLElement {
    const layouts: readonly Layout[] = ['requests', 'lanes'];
    const bar = element('div', { class: 'toolbar' });
    if (this.#runs.length > 1) {
      const labels = this.#runs.map(({ label }) => label);
      bar.append(
        select('Run', labels, (index) => {
          this.#run = this.#runs[index]!;
          this.#arrange();
          this.#draw();
        }),
      );
    }
    bar.append(
      select('Rows', ['one for each request', 'packed into lanes'], (index) => {
        this.#layout = layouts[index]!;
        this.#arrange();
        this.#draw();
      }),
      button('+', 'Zoom in', () => this.#zoom(1 / ZOOM)),
      button('−', 'Zoom out', () => this.#zoom(ZOOM)),
      button('←', 'Earlier', () => this.#pan(-PAN, 0)),
      button('→', 'Later', () => this.#pan(PAN, 0)),
      button('↑', 'Up', () => this.#pan(0, -PAN)),
      button('↓', 'Down', () => this.#pan(0, PAN)),
      button('Show all', 'Show the whole run', () => this.#showAll()),
    );
    return bar;
  }

  /** Gives every request its row. Lanes are reused: a request takes the first that is free when it is sent. */
  #arrange(): void {
    const { sent, end, total } = this.#run.timeline;
    if (this.#layout === 'requests') {
      this.#rows = sent.map((_, i) => i);
    } else {
      const busyUntil: number[] = [];
      this.#rows = sent.map((at, i) => {
        const free = busyUntil.findIndex((until) => until <= at);
        const lane = free < 0 ? busyUntil.length : free;
        busyUntil[lane] = end[i]!;
        return lane;
      });
    }
    const byRow: number[][] = [];
    for (const [i, row] of this.#rows.entries()) {
      byRow[row] ??= [];
      byRow[row].push(i);
    }
    this.#byRow = byRow;
    const shown =
      sent.length === total
        ? `${formatCount(total)} requests, in the order of sending. `
        : `${formatCount(sent.length)} of ${formatCount(total)} requests: the slowest half of them, the others evenly chosen. `;
    const lanes = this.#layout === 'lanes' ? 'Lanes do not show the wait in the client. ' : '';
    this.#note.textContent = `${shown}${lanes}Drag to zoom, double-click for all.`;
  }

  #fit(): void {
    const width = this.#width();
    if (this.#plot === undefined) this.#draw();
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: this.#height() });
  }

  #width(): number {
    return Math.max(NARROWEST, Math.floor(this.#holder.clientWidth));
  }

  #height(): number {
    return Math.min(MOST_HEIGHT, Math.max(LEAST_HEIGHT, this.#byRow.length * ROW_HEIGHT + FRAME));
  }

  #draw(): void {
    this.#plot?.destroy();
    const exact: uPlot.Range.Function = (_, min, max) => [min, max];
    this.#plot = new uPlot(
      {
        ...{ width: this.#width(), height: this.#height(), legend: { show: false }, padding: [8, 28, 0, 0] },
        scales: { x: { time: false, range: exact }, y: { time: false, range: exact, dir: -1 } },
        axes: [
          plotAxis('time since the start', X_AXIS_SIZE, formatMoment),
          { ...plotAxis(this.#layout === 'lanes' ? 'lane' : 'request', Y_AXIS_SIZE, formatNumber), incrs: WHOLE_STEPS },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { drag: { x: true, y: true, uni: 24 }, points: { show: false } },
        hooks: { draw: [(plot) => this.#paint(plot)], setCursor: [(plot) => this.#point(plot)] },
      },
      [...this.#extent()],
      this.#holder,
    );
    this.#plot.over.append(this.#tooltip.element);
    this.#holder.dataset.requests = String(this.#run.timeline.sent.length);
  }

  #extent(): [x: [number, number], y: [number, number]] {
    const { duration, timeline } = this.#run;
    const end = timeline.end.reduce((last, at) => Math.max(last, at), duration);
    return [
      [0, end > 0 ? end : 1],
      [0, Math.max(1, this.#byRow.length)],
    ];
  }

  #paint(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const { due, sent, first, end, error } = this.#run.timeline;
    const rowHeight = plot.valToPos(1, 'y', true) - plot.valToPos(0, 'y', true);
    const height = Math.max(1, rowHeight > 3 ? rowHeight - 1 : rowHeight);
    const [from, to] = visible(plot, 'y');
    const [earliest, latest] = visible(plot, 'x');
    const x = (time: number) => plot.valToPos(time, 'x', true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    this.#paintBand(plot);
    const bar = (request: number, start: number, stop: number, fill: string, [wide, high] = NOTHING) => {
      if (stop < earliest || start > latest) return;
      ctx.fillStyle = fill;
      const left = x(start);
      const top = plot.valToPos(this.#rows[request]!, 'y', true);
      ctx.fillRect(left, top, Math.max(wide, x(stop) - left), Math.max(high, height));
    };
    const [queue, prefill, decode, failed] = PHASES.map(([, name]) => colour(name)) as [string, string, string, string];
    const failures: number[] = [];
    for (let row = Math.max(0, Math.floor(from)); row < Math.min(this.#byRow.length, to); row++) {
      for (const i of this.#byRow[row]!) {
        if (this.#layout === 'requests') bar(i, due[i]!, sent[i]!, queue);
        if (error[i]! >= 0) failures.push(i);
        else {
          bar(i, sent[i]!, first[i] ?? end[i]!, prefill, SLIVER);
          if (first[i] !== null) bar(i, first[i]!, end[i]!, decode, SLIVER);
        }
      }
    }
    // Last and large enough, so that none is hidden by its neighbours.
    for (const i of failures) {
      bar(i, sent[i]!, end[i]!, failed, MARK);
      if (height < CROSSED) continue;
      const y = plot.valToPos(this.#rows[i]!, 'y', true) + height / 2;
      cross(ctx, x(end[i]!) + height / 2 + 2, y, height / 3, failed);
    }
    ctx.restore();
  }

  #paintBand(plot: uPlot): void {
    const { steadyState } = this.#run;
    if (steadyState === undefined) return;
    const [from, to] = steadyState.map((time) => plot.valToPos(time, 'x', true)) as [number, number];
    plot.ctx.fillStyle = colour('--band');
    plot.ctx.fillRect(from, plot.bbox.top, to - from, plot.bbox.height);
  }

  #point(plot: uPlot): void {
    const { left = -1, top = -1 } = plot.cursor;
    const request = left < 0 ? undefined : this.#requestAt(plot.posToVal(left, 'x'), plot.posToVal(top, 'y'));
    if (request === undefined) {
      this.#tooltip.hide();
      return;
    }
    const { index, turn } = this.#run.timeline;
    const name = `Request ${index[request]}${turn[request] === 0 ? '' : `, turn ${turn[request]! + 1}`}`;
    const size = { width: plot.over.clientWidth, height: plot.over.clientHeight };
    this.#tooltip.show(name, this.#describe(request), { left, top, ...size });
  }

  /** The request of the row that is nearest in time. */
  #requestAt(time: number, row: number): number | undefined {
    const { sent, end } = this.#run.timeline;
    const distance = (i: number) => Math.max(0, sent[i]! - time, time - end[i]!);
    const requests = this.#byRow[Math.floor(row)] ?? [];
    return requests.reduce<number | undefined>(
      (nearest, i) => (nearest === undefined || distance(i) < distance(nearest) ? i : nearest),
      undefined,
    );
  }

  #describe(i: number): TooltipRow[] {
    const { due, sent, first, end, promptLen, outputLen, error, errors } = this.#run.timeline;
    const begun = first[i] ?? null;
    const tokens = outputLen[i]!;
    const isGood = error[i]! < 0;
    const [queue, prefill, decode, failed] = PHASES.map(([, name]) => colour(name)) as [string, string, string, string];
    return [
      { label: 'Prompt', value: `${formatCount(promptLen[i]!)} tokens` },
      ...(isGood ? [{ label: 'Output', value: `${formatCount(tokens)} tokens` }] : []),
      { label: 'Sent', value: formatMoment(sent[i]!) },
      { label: 'Client queue', value: formatSeconds(Math.max(0, sent[i]! - due[i]!)), colour: queue },
      ...(begun === null ? [] : [{ label: 'TTFT', value: formatSeconds(begun - sent[i]!), colour: prefill }]),
      ...(begun === null || !isGood
        ? []
        : [{ label: 'Decode', value: formatSeconds(end[i]! - begun), colour: decode }]),
      ...(begun === null || tokens < 2
        ? []
        : [{ label: 'TPOT', value: formatSeconds((end[i]! - begun) / (tokens - 1)) }]),
      { label: 'E2E', value: formatSeconds(end[i]! - sent[i]!) },
      ...(isGood ? [] : [{ label: 'Failed', value: errors[error[i]!]!, colour: failed }]),
    ];
  }

  #onKey(event: KeyboardEvent): void {
    const actions: Record<string, () => void> = {
      '+': () => this.#zoom(1 / ZOOM),
      '-': () => this.#zoom(ZOOM),
      ArrowLeft: () => this.#pan(-PAN, 0),
      ArrowRight: () => this.#pan(PAN, 0),
      ArrowUp: () => this.#pan(0, -PAN),
      ArrowDown: () => this.#pan(0, PAN),
      '0': () => this.#showAll(),
    };
    const action = actions[event.key];
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  #zoom(factor: number): void {
    this.#move((min, max) => {
      const middle = (min + max) / 2;
      const half = ((max - min) / 2) * factor;
      return [middle - half, middle + half];
    });
  }

  /** By shares of what is visible. */
  #pan(dx: number, dy: number): void {
    this.#move((min, max, scale) => {
      const by = (max - min) * (scale === 'x' ? dx : dy);
      return [min + by, max + by];
    });
  }

  #showAll(): void {
    const [x, y] = this.#extent();
    this.#move((_, __, scale) => (scale === 'x' ? x : y));
  }

  /** Never beyond the run. */
  #move(change: (min: number, max: number, scale: 'x' | 'y') => readonly [number, number]): void {
    const plot = this.#plot;
    if (plot === undefined) return;
    const [x, y] = this.#extent();
    plot.batch(() => {
      for (const [scale, [low, high]] of [['x', x] as const, ['y', y] as const]) {
        const [min, max] = change(...visible(plot, scale), scale);
        const length = Math.min(max - min, high - low);
        const from = Math.min(Math.max(low, min), high - length);
        plot.setScale(scale, { min: from, max: from + length });
      }
    });
  }
}

const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

const PHASES = [
  ['waiting in the client', '--queue'],
  ['prefill: sent to first token', '--prefill'],
  ['decode: first token to last byte', '--decode'],
  ['failed', '--failed'],
] as const;

function key(): HTMLElement {
  const entries = PHASES.map(([label, name]) => {
    const mark = element('i', { class: 'mark' });
    mark.style.background = `var(${name})`;
    return element('span', {}, mark, label);
  });
  return element('div', { class: 'key' }, ...entries);
}

const formatCount = (value: number): string => value.toLocaleString('en-US');

function visible(plot: uPlot, scale: 'x' | 'y'): [min: number, max: number] {
  const { min = 0, max = 1 } = plot.scales[scale]!;
  return [min, max];
}

function cross(ctx: CanvasRenderingContext2D, x: number, y: number, size: number, stroke: string): void {
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(x - size, y - size);
  ctx.lineTo(x + size, y + size);
  ctx.moveTo(x - size, y + size);
  ctx.lineTo(x + size, y - size);
  ctx.stroke();
}
