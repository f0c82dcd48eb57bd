// StepOutput: typed-array views of the buffer that a step sends up. No copies.
import { VitrineError } from '../util/errors.js';
import {
  DIRECTORY_START,
  LAYOUT_VERSION,
  STEP_OUTPUT_HEADER,
  STEP_OUTPUT_MAGIC,
  STEP_OUTPUT_SECTIONS,
  type StepOutputSection,
} from './forward-batch-layout.js';

const headerIndex = Object.fromEntries(STEP_OUTPUT_HEADER.map((name, i) => [name, i])) as Record<
  (typeof STEP_OUTPUT_HEADER)[number],
  number
>;
const sectionIndex = Object.fromEntries(STEP_OUTPUT_SECTIONS.map((s, i) => [s.name, i])) as Record<
  StepOutputSection,
  number
>;

export class StepOutput {
  readonly #words: Int32Array;
  readonly #floats: Float32Array;

  constructor(buffer: ArrayBuffer) {
    this.#words = new Int32Array(buffer);
    this.#floats = new Float32Array(buffer);
    if (this.#words[0] !== STEP_OUTPUT_MAGIC || this.#words[1] !== LAYOUT_VERSION) {
      throw new VitrineError('INTERNAL', `Not a StepOutput: magic ${this.#words[0]}, version ${this.#words[1]}`);
    }
  }

  get stepId(): number {
    return this.#words[headerIndex.stepId]!;
  }

  /** Monotonic nanoseconds at which the step began and ended on the engine thread. */
  get startNs(): bigint {
    return this.#bigint(headerIndex.startNsLow);
  }

  get endNs(): bigint {
    return this.#bigint(headerIndex.endNsLow);
  }

  /** [R] sampled token of each request, -1 where none was sampled. */
  get sampledIds(): Int32Array {
    return this.#ints('sampledIds');
  }

  /** [L] */
  get rowLogprobs(): Float32Array {
    return this.#reals('rowLogprobs');
  }

  /** Most likely tokens of logit row `row`, best first. */
  top(row: number): (readonly [id: number, logprob: number])[] {
    const start = this.#ints('topStart');
    const ids = this.#ints('topIds');
    const values = this.#reals('topLogprobs');
    const pairs: [number, number][] = [];
    for (let i = start[row]!; i < start[row + 1]!; i++) pairs.push([ids[i]!, values[i]!]);
    return pairs;
  }

  /** Log-probabilities of the watched ids of logit row `row`, in their order. */
  watched(row: number): Float32Array {
    const start = this.#ints('watchStart');
    return this.#reals('watchLogprobs').subarray(start[row], start[row + 1]);
  }

  /** Raw logits of row `row` [vocab]; empty when not asked for. */
  logits(row: number): Float32Array {
    const start = this.#ints('logitStart');
    return this.#reals('logits').subarray(start[row], start[row + 1]);
  }

  #bigint(low: number): bigint {
    return (BigInt(this.#words[low + 1]! >>> 0) << 32n) | BigInt(this.#words[low]! >>> 0);
  }

  #ints(name: StepOutputSection): Int32Array {
    const at = DIRECTORY_START + 2 * sectionIndex[name];
    return this.#words.subarray(this.#words[at], this.#words[at]! + this.#words[at + 1]!);
  }

  #reals(name: StepOutputSection): Float32Array {
    const at = DIRECTORY_START + 2 * sectionIndex[name];
    return this.#floats.subarray(this.#words[at], this.#words[at]! + this.#words[at + 1]!);
  }
}
