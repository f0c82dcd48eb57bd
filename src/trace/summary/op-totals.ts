// Walks every track of a trace once, with a stack of open spans, and adds up self times by category, op and layer.
import type { LoadedTrace } from '../read/trace-loader.js';

export interface OpTotal {
  readonly name: number;
  readonly category: number;
  calls: number;
  self: number;
  /** Without spans of the same op inside. */
  total: number;
  readonly shapes: Map<number, { calls: number; self: number; total: number }>;
}

export interface LayerTotal {
  readonly layer: number;
  calls: number;
  total: number;
  /** Self time by op name. */
  readonly ops: Map<number, number>;
}

export interface CategoryTotal {
  readonly category: number;
  spans: number;
  self: number;
  /** Of it, that of threads of nothing but stacks: samples, whose time is that of other spans seen again. */
  sampled: number;
}

/** Frames around ops rather than ops. */
const NO_OPS = new Set(['"user_annotation"', '"gpu_user_annotation"', '"python_function"']);
const HOST_CLASSES = { '"scheduler"': 'scheduler', '"tokenizer"': 'tokenizer', '"http"': 'http' } as const;
type HostClass = (typeof HOST_CLASSES)[keyof typeof HOST_CLASSES];
/** Kineto's pseudo spans of the recording itself. */
const PSEUDO = '"Trace"';
/** Of two spans with the same times, the one of the later category here lies around the other. */
const OUTER_FIRST = ['', '"python_function"', '"user_annotation"', '"gpu_user_annotation"'];
const MAX_SHAPES_PER_OP = 1000;

/** Rows are those of the trace's SpanTable. */
export class OpTotals {
  /** Steps that are not inside another one. */
  readonly steps: number[] = [];
  /** Outermost spans by who was at work. */
  readonly host: Readonly<Record<HostClass, number[]>> = { scheduler: [], tokenizer: [], http: [] };
  /** Extent of all spans, ns. */
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;
  /** Spans that end after the span around them. */
  overlaps = 0;
  readonly #trace: LoadedTrace;
  readonly #ops = new Map<number, OpTotal>();
  readonly #categories: CategoryTotal[];
  readonly #isOp: readonly boolean[];
  readonly #hostClass: readonly (HostClass | undefined)[];
  readonly #pseudo: number;
  readonly #annotation: number;
  readonly #stacks: number;
  /** The track being walked has stacks only. */
  #isSampled = false;
  readonly #layersByTrack = new Map<number, Map<number, LayerTotal>>();
  readonly #realTracks = new Set<number>();

  /** The stack: rows, ends, self times so far, layers. */
  readonly #rows: number[] = [];
  readonly #ends: number[] = [];
  readonly #selfs: number[] = [];
  readonly #layers: number[] = [];
  /** Of the spans on the stack: how many are steps, and how many have a name. */
  #openSteps = 0;
  readonly #openNames: Uint32Array;

  constructor(trace: LoadedTrace) {
    this.#trace = trace;
    const { categories } = trace;
    this.#openNames = new Uint32Array(trace.names.length);
    this.#categories = categories.map((_, category) => ({ category, spans: 0, self: 0, sampled: 0 }));
    this.#hostClass = categories.map((name) => HOST_CLASSES[name as keyof typeof HOST_CLASSES]);
    this.#isOp = categories.map(
      (name, i) => !NO_OPS.has(name) && this.#hostClass[i] === undefined && name !== '"request"',
    );
    this.#pseudo = categories.indexOf(PSEUDO);
    this.#annotation = categories.indexOf('"user_annotation"');
    this.#stacks = categories.indexOf('"python_function"');
    const outerFirst = Uint8Array.from(categories, (name) => Math.max(0, OUTER_FIRST.indexOf(name)));
    const byTrack = trace.spans.rowsByTrack(trace.tracks.length, outerFirst);
    for (const [track, rows] of byTrack.entries()) this.#walk(rows, track);
  }

  get categories(): CategoryTotal[] {
    return this.#categories.filter(({ spans }) => spans > 0);
  }

  get ops(): OpTotal[] {
    return [...this.#ops.values()];
  }

  /** The track has spans other than those of the recording itself. */
  isReal(track: number): boolean {
    return this.#realTracks.has(track);
  }

  /**
   * Layers over all processes. Of a process only the thread with the most time in layers counts, for workers of one op
   * would count its time again. Where GPUs say whose work they did, their time counts and that of the host does not.
   */
  layers({ tracks, gpuWork, spans }: LoadedTrace): LayerTotal[] {
    const gpuTracks = new Set(gpuWork.map(({ row }) => spans.track[row]!));
    const onGpu = [...gpuTracks].some((track) => this.#layersByTrack.has(track));
    const best = new Map<string, { total: number; layers: Map<number, LayerTotal> }>();
    for (const [track, layers] of this.#layersByTrack) {
      if (onGpu && !gpuTracks.has(track)) continue;
      const total = [...layers.values()].reduce((sum, layer) => sum + layer.total, 0);
      const { pid } = tracks[track]!;
      if (total > (best.get(pid)?.total ?? -1)) best.set(pid, { total, layers });
    }
    const merged = new Map<number, LayerTotal>();
    for (const { layers } of best.values()) {
      for (const { layer, calls, total, ops } of layers.values()) {
        const into = merged.get(layer) ?? { layer, calls: 0, total: 0, ops: new Map<number, number>() };
        into.calls += calls;
        into.total += total;
        for (const [name, self] of ops) into.ops.set(name, (into.ops.get(name) ?? 0) + self);
        merged.set(layer, into);
      }
    }
    return [...merged.values()];
  }

  #walk(rows: Uint32Array, track: number): void {
    const { spans } = this.#trace;
    this.#isSampled = rows.every((row) => spans.category[row] === this.#stacks);
    for (const row of rows) {
      if (spans.category[row] === this.#pseudo) continue;
      this.#realTracks.add(track);
      const begin = spans.begin[row]!;
      while (this.#rows.length > 0 && this.#ends.at(-1)! <= begin) this.#pop(track);
      this.#push(row, begin);
    }
    while (this.#rows.length > 0) this.#pop(track);
  }

  #push(row: number, begin: number): void {
    const { spans } = this.#trace;
    const depth = this.#rows.length;
    let end = begin + spans.duration[row]!;
    this.first = Math.min(this.first, begin);
    this.last = Math.max(this.last, end);
    if (depth > 0) {
      if (end > this.#ends[depth - 1]!) {
        this.overlaps++;
        // What sticks out is counted for neither, so that no time counts twice.
        end = this.#ends[depth - 1]!;
      }
      this.#selfs[depth - 1]! -= end - begin;
    }
    const insideStep = this.#openSteps > 0;
    const isStep = spans.step[row]! > 0;
    if (isStep && !insideStep) this.steps.push(row);
    this.#noteHost(row, insideStep);
    if (isStep) this.#openSteps++;
    this.#openNames[spans.name[row]!]!++;
    const own = spans.layer[row]!;
    this.#rows.push(row);
    this.#ends.push(end);
    this.#selfs.push(end - begin);
    this.#layers.push(own >= 0 || depth === 0 ? own : this.#layers[depth - 1]!);
  }

  /** Phases of the scheduler are its own spans or, as in SGLang, annotations that hold no step and lie in none. */
  #noteHost(row: number, insideStep: boolean): void {
    const { spans } = this.#trace;
    const category = spans.category[row]!;
    const known = this.#hostClass[category];
    if (known !== undefined) {
      const outer = this.#rows.at(-1);
      if (outer === undefined || this.#hostClass[spans.category[outer]!] !== known) this.host[known].push(row);
    } else if (category === this.#annotation && spans.step[row] === 0 && !insideStep) {
      this.host.scheduler.push(row);
    }
  }

  #pop(track: number): void {
    const { spans } = this.#trace;
    const row = this.#rows.pop()!;
    if (spans.step[row]! > 0) this.#openSteps--;
    this.#openNames[spans.name[row]!]!--;
    this.#ends.pop();
    const self = this.#selfs.pop()!;
    const layer = this.#layers.pop()!;
    const category = spans.category[row]!;
    const total = this.#categories[category]!;
    total.spans++;
    total.self += self;
    if (this.#isSampled) total.sampled += self;
    if (this.#isOp[category]) this.#addOp(row, self);
    if (layer >= 0) this.#addLayer(row, self, layer, track);
  }

  #addOp(row: number, self: number): void {
    const { spans } = this.#trace;
    const name = spans.name[row]!;
    const category = spans.category[row]!;
    const key = name * 65_536 + category;
    let op = this.#ops.get(key);
    if (op === undefined) {
      op = { name, category, calls: 0, self: 0, total: 0, shapes: new Map() };
      this.#ops.set(key, op);
    }
    const ownTotal = this.#openNames[name] === 0 ? spans.duration[row]! : 0;
    op.calls++;
    op.self += self;
    op.total += ownTotal;
    const shape = spans.shape[row]!;
    if (shape === 0) return;
    const known = op.shapes.get(shape);
    if (known !== undefined) {
      known.calls++;
      known.self += self;
      known.total += ownTotal;
    } else if (op.shapes.size < MAX_SHAPES_PER_OP) {
      op.shapes.set(shape, { calls: 1, self, total: ownTotal });
    }
  }

  /** Called after the span left the stack: the top is the span around it. */
  #addLayer(row: number, self: number, layer: number, track: number): void {
    const { spans } = this.#trace;
    let layers = this.#layersByTrack.get(track);
    if (layers === undefined) {
      layers = new Map();
      this.#layersByTrack.set(track, layers);
    }
    let total = layers.get(layer);
    if (total === undefined) {
      total = { layer, calls: 0, total: 0, ops: new Map() };
      layers.set(layer, total);
    }
    if (this.#layers.at(-1) !== layer) {
      total.calls++;
      total.total += spans.duration[row]!;
    }
    const name = spans.name[row]!;
    total.ops.set(name, (total.ops.get(name) ?? 0) + self);
  }
}
