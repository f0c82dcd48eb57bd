// One chart of curves, steps or points: drawn by uPlot, with a tooltip, logarithmic axes and lines that can be hidden.
import { plotAxis, X_AXIS_SIZE, Y_AXIS_SIZE } from './axis.js';
import { element } from './dom.js';
import { type LogBase, logRange, logTicks } from './log-scale.js';
import { colour, onThemeChange, seriesColour, seriesDash } from './theme.js';
import { Tooltip } from './tooltip.js';

export interface Line {
  readonly label: string;
  /** Rising. */
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
}

export interface ChartSettings {
  /** Of the figure, for links and tests. */
  readonly id: string;
  readonly title: string;
  readonly caption?: string;
  readonly kind: 'line' | 'steps' | 'points';
  /** Line i has the colour i, in every chart. */
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly formatX: (value: number) => string;
  readonly formatY: (value: number) => string;
  /** Upper end of the y axis where it is not the data's. */
  readonly yMax?: number;
  /** Lines differ in more than colour; for those that are not too busy. */
  readonly dashed?: boolean;
  readonly xLogBase?: LogBase;
  /** Shaded stretch of x. */
  readonly band?: readonly [from: number, to: number];
}

export type LogAxis = 'x' | 'y';

const HEIGHT = 260;
const NARROWEST = 200;
/** Pixels from the pointer at which a point of a cloud is still meant. */
const REACH = 24;

const HAIR = 1e-9;
const LOGARITHMIC = 3;

/** A stretch that was zoomed into is shown as it is. */
function rangeOrZoom({ data: [xs] }: uPlot, min: number, max: number, base: LogBase): [number, number] {
  const isWhole = min <= xs![0]! && max >= xs!.at(-1)!;
  return isWhole || !(min > 0) ? logRange(min, max, base) : [min, max];
}

export class Chart {
  readonly element: HTMLElement;
  readonly #settings: ChartSettings;
  readonly #holder = element('div', { class: 'chart' });
  readonly #tooltip = new Tooltip();
  readonly #shown: boolean[];
  readonly #log = { x: false, y: false };
  #plot: uPlot | undefined;

  constructor(settings: ChartSettings) {
    this.#settings = settings;
    this.#shown = settings.lines.map(() => true);
    const caption = element('figcaption', {}, element('strong', {}, settings.title));
    if (settings.caption !== undefined) caption.append(element('span', {}, settings.caption));
    this.element = element('figure', { 'data-chart': settings.id }, caption, this.#holder);
    this.#holder.setAttribute('role', 'img');
    this.#holder.setAttribute('aria-label', `${settings.title}: ${settings.yLabel} by ${settings.xLabel}`);
    new ResizeObserver(() => this.#fit()).observe(this.#holder);
    onThemeChange(() => this.#draw());
  }

  setLog(axis: LogAxis, isLog: boolean): void {
    this.#log[axis] = isLog;
    this.#draw();
  }

  setShown(line: number, isShown: boolean): void {
    this.#shown[line] = isShown;
    this.#plot?.setSeries(line + 1, { show: isShown });
  }

  #fit(): void {
    const width = Math.max(NARROWEST, Math.floor(this.#holder.clientWidth));
    if (this.#plot === undefined) this.#draw();
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #draw(): void {
    this.#plot?.destroy();
    const width = Math.max(NARROWEST, Math.floor(this.#holder.clientWidth));
    this.#plot = new uPlot(this.#options(width), this.#data(), this.#holder);
    this.#plot.over.append(this.#tooltip.element);
    this.#holder.dataset.lines = String(this.#settings.lines.length);
  }

  /** All lines over one rising x; a line has no value at the x of others. Values a logarithm cannot take are left out. */
  #data(): uPlot.AlignedData {
    const { lines } = this.#settings;
    const points = lines.flatMap(({ x, y }, line) =>
      x.flatMap((at, i) => {
        const value = y[i] ?? null;
        if (value === null || (this.#log.x && at <= 0) || (this.#log.y && value <= 0)) return [];
        return [{ at, line, value }];
      }),
    );
    points.sort((a, b) => a.at - b.at);
    const xs = points.map(({ at }) => at);
    const columns = lines.map(() => new Array<number | null>(points.length).fill(null));
    for (const [i, { line, value }] of points.entries()) columns[line]![i] = value;
    // Of several points at the first or last x uPlot would see but one: a hair beyond them there is nothing to miss.
    const [first = 1, last = 1] = [xs[0], xs.at(-1)];
    const hair = (last - first || 1) * HAIR;
    return [
      [this.#log.x ? first * (1 - HAIR) : first - hair, ...xs, last + hair],
      ...columns.map((column) => [null, ...column, null]),
    ];
  }

  #options(width: number): uPlot.Options {
    const { kind, lines, xLabel, yLabel, formatX, formatY, yMax, dashed = false, xLogBase = 10 } = this.#settings;
    const logScale = (base: LogBase): uPlot.Scale => ({
      ...{ time: false, distr: LOGARITHMIC as uPlot.Scale.Distr, log: base },
      range: (_, min, max) => logRange(min, max, base),
    });
    const logAxis = (isLog: boolean, base: LogBase): Partial<uPlot.Axis> =>
      isLog ? { splits: (_, __, min, max) => logTicks(min, max, base), filter: (_, splits) => splits } : {};
    const fromZero: uPlot.Range.Function = (_, __, max) => [0, yMax ?? (max > 0 ? max * 1.05 : 1)];
    const paths = {
      line: uPlot.paths.linear!(),
      steps: uPlot.paths.stepped!({ align: 1 }),
      points: () => null,
    }[kind];
    return {
      ...{ width, height: HEIGHT, legend: { show: false }, padding: [8, 28, 0, 0] },
      scales: {
        x: this.#log.x
          ? { ...logScale(xLogBase), range: (plot, min, max) => rangeOrZoom(plot, min, max, xLogBase) }
          : { time: false },
        y: this.#log.y ? logScale(10) : { time: false, range: fromZero },
      },
      axes: [
        { ...plotAxis(xLabel, X_AXIS_SIZE, formatX), ...logAxis(this.#log.x, xLogBase) },
        { ...plotAxis(yLabel, Y_AXIS_SIZE, formatY), ...logAxis(this.#log.y, 10) },
      ],
      series: [
        {},
        ...lines.map(
          ({ label }, i): uPlot.Series => ({
            ...{ label, show: this.#shown[i]!, paths, spanGaps: true, width: 1.75 },
            stroke: seriesColour(i),
            dash: dashed ? seriesDash(i) : [],
            points: {
              show: kind === 'points' || (kind === 'line' && lines.every(({ x }) => x.length < 40)),
              ...(kind === 'points' ? { space: 0, size: 4, width: 0 } : { size: 6 }),
              fill: seriesColour(i),
            },
          }),
        ),
      ],
      cursor: {
        dataIdx: (plot, series, closest, x) => this.#meant(plot, series, closest, x),
        points: { size: 8 },
        y: false,
      },
      hooks: {
        drawClear: [(plot) => this.#drawBand(plot)],
        setCursor: [(plot) => this.#point(plot)],
      },
    };
  }

  #drawBand(plot: uPlot): void {
    const { band } = this.#settings;
    if (band === undefined) return;
    const { left, top, width, height } = plot.bbox;
    const inside = (x: number) => Math.min(left + width, Math.max(left, plot.valToPos(x, 'x', true)));
    const from = inside(band[0]);
    plot.ctx.fillStyle = colour('--band');
    plot.ctx.fillRect(from, top, inside(band[1]) - from, height);
  }

  /** The index of the point of `series` that the pointer means: the step it is on, else the point nearest to it. */
  #meant(plot: uPlot, series: number, closest: number, x: number): number | null {
    if (series === 0) return closest;
    const xs = plot.data[0]!;
    const ys = plot.data[series]!;
    const neighbour = (from: number, direction: 1 | -1): number => {
      let i = from;
      while (i >= 0 && i < ys.length && ys[i] === null) i += direction;
      return i;
    };
    if (this.#settings.kind === 'points') return this.#nearestPoint(plot, series, closest);
    const before = neighbour(xs[closest]! > x ? closest - 1 : closest, -1);
    if (this.#settings.kind === 'steps') return before < 0 ? null : before;
    const after = neighbour(closest, 1);
    if (before < 0) return after < ys.length ? after : null;
    return after < ys.length && xs[after]! - x < x - xs[before]! ? after : before;
  }

  #nearestPoint(plot: uPlot, series: number, closest: number): number | null {
    const { left = -1, top = -1 } = plot.cursor;
    const xs = plot.data[0]!;
    const ys = plot.data[series]!;
    let nearest: number | null = null;
    let least = REACH ** 2;
    for (const direction of [-1, 1]) {
      for (let i = closest; i >= 0 && i < ys.length; i += direction) {
        const dx = plot.valToPos(xs[i]!, 'x') - left;
        if (Math.abs(dx) > REACH) break;
        const y = ys[i];
        if (y === null || y === undefined) continue;
        const distance = dx ** 2 + (plot.valToPos(y, 'y') - top) ** 2;
        if (distance < least) [nearest, least] = [i, distance];
      }
    }
    return nearest;
  }

  #point(plot: uPlot): void {
    const { lines, formatX, formatY, xLabel, kind } = this.#settings;
    const { left = -1, top = -1, idxs = [] } = plot.cursor;
    const rows = lines.flatMap(({ label }, i) => {
      const index = idxs[i + 1];
      const value = index === null || index === undefined ? null : plot.data[i + 1]![index];
      if (!this.#shown[i] || value === null || value === undefined) return [];
      const text = kind === 'steps' ? formatY(value) : `${formatY(value)} at ${formatX(plot.data[0]![index!]!)}`;
      return [{ label, value: text, colour: seriesColour(i) }];
    });
    if (left < 0 || rows.length === 0) {
      this.#tooltip.hide();
      return;
    }
    const heading = kind === 'steps' ? `${xLabel}: ${formatX(plot.posToVal(left, 'x'))}` : '';
    this.#tooltip.show(heading, rows, { left, top, width: plot.over.clientWidth, height: plot.over.clientHeight });
  }
}
