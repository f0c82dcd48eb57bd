// StepOutput: typed-array views of the buffer that a step sends up. No copies.
import {
  STEP_OUTPUT_HEADER,
  STEP_OUTPUT_MAGIC,
  STEP_OUTPUT_SECTIONS,
  type StepOutputSection,
} from './forward-batch-layout.js';
import { SectionReader } from './section-reader.js';

type HeaderWord = (typeof STEP_OUTPUT_HEADER)[number];

const open = SectionReader.of<HeaderWord, StepOutputSection>({
  what: 'StepOutput',
  magic: STEP_OUTPUT_MAGIC,
  header: STEP_OUTPUT_HEADER,
  sections: STEP_OUTPUT_SECTIONS,
});

export class StepOutput {
  /** [R] sampled token of each request, -1 where none was sampled. */
  readonly sampledIds: Int32Array;
  /** [L] log-probability of each row's target or sampled token; NaN where not asked for. */
  readonly rowLogprobs: Float32Array;
  readonly #buffer: ArrayBuffer;
  readonly #sections: SectionReader<HeaderWord, StepOutputSection>;

  /**
   * `spans`: the step's span records, a chunk of trace/record/span-layout.ts; null unless its batch said `profile`. In a
   * StepListener they are the engine's own bytes, of use until it returns.
   */
  constructor(
    buffer: ArrayBuffer,
    readonly spans: Uint8Array | null = null,
  ) {
    this.#buffer = buffer;
    this.#sections = open(buffer);
    this.sampledIds = this.#sections.ints('sampledIds');
    this.rowLogprobs = this.#sections.floats('rowLogprobs');
  }

  /** The same output, with spans that stay. */
  withOwnSpans(): StepOutput {
    return this.spans === null ? this : new StepOutput(this.#buffer, this.spans.slice());
  }

  get stepId(): number {
    return this.#sections.header('stepId');
  }

  /**
   * Monotonic nanoseconds on the engine thread at which the step began, had queued all its ops and was finished. On the CPU
   * ops are done on return and the last two are one; on a GPU the next step may begin before this one is finished.
   */
  get startNs(): bigint {
    return this.#nanoseconds('startNsLow', 'startNsHigh');
  }

  get launchedNs(): bigint {
    return this.#nanoseconds('launchedNsLow', 'launchedNsHigh');
  }

  get endNs(): bigint {
    return this.#nanoseconds('endNsLow', 'endNsHigh');
  }

  /** Most likely tokens of logit row `row`, best first. */
  top(row: number): (readonly [id: number, logprob: number])[] {
    const ids = this.#sections.intRow('topStart', 'topIds', row);
    const values = this.#sections.floatRow('topStart', 'topLogprobs', row);
    return Array.from(ids, (id, i) => [id, values[i]!] as const);
  }

  /** Log-probabilities of the watched ids of logit row `row`, in their order. */
  watched(row: number): Float32Array {
    return this.#sections.floatRow('watchStart', 'watchLogprobs', row);
  }

  /** Raw logits of row `row` [vocab]; empty when not asked for. */
  logits(row: number): Float32Array {
    return this.#sections.floatRow('logitStart', 'logits', row);
  }

  #nanoseconds(low: HeaderWord, high: HeaderWord): bigint {
    return (BigInt(this.#sections.header(high) >>> 0) << 32n) | BigInt(this.#sections.header(low) >>> 0);
  }
}
