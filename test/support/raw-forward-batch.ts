// Builds ForwardBatch words and reads StepOutput words from the layout tables alone: the contract as a test sees it,
// independent of the product's own encoder.
import {
  DIRECTORY_START,
  FORWARD_BATCH_HEADER,
  FORWARD_BATCH_MAGIC,
  FORWARD_BATCH_SECTIONS,
  FORWARD_MODE,
  type ForwardBatchSection,
  HEADER_WORDS,
  LAYOUT_VERSION,
  STEP_OUTPUT_HEADER,
  STEP_OUTPUT_MAGIC,
  STEP_OUTPUT_SECTIONS,
  type StepOutputSection,
} from '#vitrine/engine/forward-batch-layout.js';

export type RawSections = Partial<Record<ForwardBatchSection, readonly number[]>>;

/** One request of a batch. */
export interface RawRequest {
  readonly slot: number;
  /** Token ids, or -(slot + 1). */
  readonly tokens: readonly number[];
  /** Position of tokens[0]. */
  readonly start: number;
  /** Block table of the whole sequence. */
  readonly blocks: readonly number[];
  readonly flags?: number;
  /** [index into tokens, target or -1]; default: sample after the last token. */
  readonly rows?: readonly (readonly [number, number])[];
}

export interface RawBatchOptions {
  readonly blockSize: number;
  readonly stepId?: number;
  /** Further sections, or replacements of derived ones. */
  readonly sections?: RawSections;
  /** Replaces header words. */
  readonly header?: Partial<Record<(typeof FORWARD_BATCH_HEADER)[number], number>>;
}

export function rawForwardBatch(requests: readonly RawRequest[], options: RawBatchOptions): ArrayBuffer {
  const { blockSize } = options;
  const s = {
    tokenIds: [] as number[],
    positions: [] as number[],
    kvSlots: [] as number[],
    reqSlots: [] as number[],
    queryStart: [0],
    seqLens: [] as number[],
    reqFlags: [] as number[],
    blockStart: [0],
    blocks: [] as number[],
    rowTokens: [] as number[],
    rowRequests: [] as number[],
    rowTargets: [] as number[],
  };
  requests.forEach((request, index) => {
    const first = s.tokenIds.length;
    request.tokens.forEach((token, i) => {
      const position = request.start + i;
      s.tokenIds.push(token);
      s.positions.push(position);
      s.kvSlots.push(request.blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize));
    });
    s.reqSlots.push(request.slot);
    s.queryStart.push(s.tokenIds.length);
    s.seqLens.push(request.start + request.tokens.length);
    s.reqFlags.push(request.flags ?? 0);
    s.blocks.push(...request.blocks);
    s.blockStart.push(s.blocks.length);
    for (const [token, target] of request.rows ?? [[request.tokens.length - 1, -1] as const]) {
      s.rowTokens.push(first + token);
      s.rowRequests.push(index);
      s.rowTargets.push(target);
    }
  });
  const sections: RawSections = { ...s, ...options.sections };
  const lengths = FORWARD_BATCH_SECTIONS.map(({ name }) => sections[name]?.length ?? 0);
  const totalWords = HEADER_WORDS + lengths.reduce((sum, length) => sum + length, 0);
  const buffer = new ArrayBuffer(4 * totalWords);
  const words = new Int32Array(buffer);
  const floats = new Float32Array(buffer);
  const header: Record<(typeof FORWARD_BATCH_HEADER)[number], number> = {
    magic: FORWARD_BATCH_MAGIC,
    version: LAYOUT_VERSION,
    totalWords,
    stepId: options.stepId ?? 0,
    mode: FORWARD_MODE.mixed,
    numTokens: s.tokenIds.length,
    numRequests: requests.length,
    numLogitRows: s.rowTokens.length,
    blockSize,
    profile: 0,
    ...options.header,
  };
  FORWARD_BATCH_HEADER.forEach((name, i) => {
    words[i] = header[name];
  });
  let offset = HEADER_WORDS;
  FORWARD_BATCH_SECTIONS.forEach(({ name, type }, i) => {
    words[DIRECTORY_START + 2 * i] = offset;
    words[DIRECTORY_START + 2 * i + 1] = lengths[i]!;
    (type === 'f32' ? floats : words).set(sections[name] ?? [], offset);
    offset += lengths[i]!;
  });
  return buffer;
}

export class RawStepOutput {
  readonly #words: Int32Array;
  readonly #floats: Float32Array;

  /** The step's span chunk. */
  readonly spans: ArrayBuffer | null;

  constructor(buffer: ArrayBuffer, spans: ArrayBuffer | null = null) {
    this.spans = spans;
    this.#words = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
    if (this.header('magic') !== STEP_OUTPUT_MAGIC) throw new Error(`magic is ${this.header('magic')}`);
    if (this.header('version') !== LAYOUT_VERSION) throw new Error(`version is ${this.header('version')}`);
    if (this.header('totalWords') !== this.#words.length) throw new Error(`totalWords is ${this.header('totalWords')}`);
  }

  header(name: (typeof STEP_OUTPUT_HEADER)[number]): number {
    return this.#words[STEP_OUTPUT_HEADER.indexOf(name)]!;
  }

  nanoseconds(which: 'start' | 'end'): bigint {
    const low = BigInt.asUintN(32, BigInt(this.header(`${which}NsLow`)));
    return (BigInt(this.header(`${which}NsHigh`)) << 32n) | low;
  }

  #bounds(name: StepOutputSection): [number, number] {
    const at = DIRECTORY_START + 2 * STEP_OUTPUT_SECTIONS.findIndex((section) => section.name === name);
    return [this.#words[at]!, this.#words[at]! + this.#words[at + 1]!];
  }

  ints(name: StepOutputSection): Int32Array {
    return this.#words.subarray(...this.#bounds(name));
  }

  floats(name: StepOutputSection): Float32Array {
    return this.#floats.subarray(...this.#bounds(name));
  }

  /** The entries of one row in a CSR section. */
  row(start: StepOutputSection, values: StepOutputSection, row: number): number[] {
    const starts = this.ints(start);
    const all = values === 'topIds' ? this.ints(values) : this.floats(values);
    return [...all.subarray(starts[row]!, starts[row + 1]!)];
  }

  logits(row: number): Float32Array {
    const starts = this.ints('logitStart');
    return this.floats('logits').slice(starts[row]!, starts[row + 1]!);
  }
}
