// The points of all arrows of one file, from all of its sources, as columns of numbers (24 bytes a point): which of them
// start and end an arrow is known only when the file is complete. Runs on the writer's thread.
import { formatMicroseconds } from '../trace-event.js';

export const MAX_FLOW_POINTS = 4_000_000;
const FIRST_CAPACITY = 1024;

/** Takes one event's text, without a separator. */
type EventSink = (text: string) => void;

export class FlowPoints {
  /** Points that came when all room was taken. */
  dropped = 0;
  readonly #limit: number;
  #length = 0;
  #capacity = 0;
  #idLow = new Uint32Array(0);
  #idHigh = new Uint32Array(0);
  #ns = new Float64Array(0);
  #kind = new Uint32Array(0);
  #track = new Uint32Array(0);
  /** `"cat":…,"name":…` and `"pid":…,"tid":…`. */
  readonly #kinds: string[] = [];
  readonly #tracks: string[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(limit = MAX_FLOW_POINTS) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  /** The number, for add(), of the arrows of a category and name, both JSON strings. */
  kind(category: string, name: string): number {
    return this.#number(this.#kinds, `"cat":${category},"name":${name}`);
  }

  /** The number, for add(), of a thread. */
  track(pid: number, tid: number): number {
    return this.#number(this.#tracks, `"pid":${pid},"tid":${tid}`);
  }

  /** `ns`: after the file's base; `idLow` and `idHigh`: the halves of a 64-bit id. */
  add(kind: number, track: number, idLow: number, idHigh: number, ns: number): void {
    if (this.#length === this.#limit) {
      this.dropped++;
      return;
    }
    if (this.#length === this.#capacity) this.#grow();
    const at = this.#length++;
    this.#idLow[at] = idLow;
    this.#idHigh[at] = idHigh;
    this.#ns[at] = ns;
    this.#kind[at] = kind;
    this.#track[at] = track;
  }

  /**
   * Emits every arrow of two points or more: its first point in time starts it, its last one ends it; of points of the
   * same time the one added first is first. Arrows are left out whole once `isFull` says so; returns how many points
   * that cost.
   */
  emit(sink: EventSink, isFull: () => boolean): number {
    const order = this.#sorted();
    let leftOut = 0;
    for (let from = 0; from < order.length; ) {
      let to = from + 1;
      while (to < order.length && this.#isSameArrow(order[from]!, order[to]!)) to++;
      if (to - from > 1 && isFull()) leftOut += to - from;
      else if (to - from > 1) this.#emitArrow(order.subarray(from, to), sink);
      from = to;
    }
    return leftOut;
  }

  #emitArrow(points: Uint32Array, sink: EventSink): void {
    const first = points[0]!;
    const what = this.#kinds[this.#kind[first]!]!;
    const high = this.#idHigh[first]!;
    const low = this.#idLow[first]!;
    const id = high < 1 << 21 ? String(high * 2 ** 32 + low) : String((BigInt(high) << 32n) | BigInt(low));
    for (let i = 0; i < points.length; i++) {
      const point = points[i]!;
      const phase = i === 0 ? 's' : i === points.length - 1 ? 'f' : 't';
      const binding = phase === 'f' ? ',"bp":"e"' : '';
      const ts = formatMicroseconds(Math.max(this.#ns[point]!, 0));
      sink(`{"ph":"${phase}",${what},${this.#tracks[this.#track[point]!]},"ts":${ts},"id":${id}${binding}}`);
    }
  }

  #isSameArrow(a: number, b: number): boolean {
    return this.#idLow[a] === this.#idLow[b] && this.#idHigh[a] === this.#idHigh[b] && this.#kind[a] === this.#kind[b];
  }

  #sorted(): Uint32Array {
    const order = new Uint32Array(this.#length);
    for (let i = 0; i < order.length; i++) order[i] = i;
    const [idLow, idHigh, ns, kind] = [this.#idLow, this.#idHigh, this.#ns, this.#kind];
    return order.sort(
      (a, b) => kind[a]! - kind[b]! || idHigh[a]! - idHigh[b]! || idLow[a]! - idLow[b]! || ns[a]! - ns[b]! || a - b,
    );
  }

  #number(table: string[], text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, table.length);
    table.push(text);
    return table.length - 1;
  }

  #grow(): void {
    this.#capacity = Math.min(Math.max(FIRST_CAPACITY, 2 * this.#capacity), this.#limit);
    const grown = <T extends { set(from: T): void }>(column: T, wider: T): T => {
      wider.set(column);
      return wider;
    };
    this.#idLow = grown(this.#idLow, new Uint32Array(this.#capacity));
    this.#idHigh = grown(this.#idHigh, new Uint32Array(this.#capacity));
    this.#ns = grown(this.#ns, new Float64Array(this.#capacity));
    this.#kind = grown(this.#kind, new Uint32Array(this.#capacity));
    this.#track = grown(this.#track, new Uint32Array(this.#capacity));
  }
}
