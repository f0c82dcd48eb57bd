// Writes a ForwardBatch request by request and assembles its buffer. One writer serves all steps of a scheduler: its
// scratch space only grows, so that a step costs no garbage but the buffer, and that comes from a pool.
import { BufferPool } from './buffer-pool.js';
import { type ForwardBatch, type ForwardRequest, GREEDY } from './forward-batch.js';
import {
  DIRECTORY_START,
  FORWARD_BATCH_HEADER,
  FORWARD_BATCH_MAGIC,
  FORWARD_BATCH_SECTIONS,
  FORWARD_MODE,
  type ForwardBatchSection,
  type ForwardMode,
  HEADER_WORDS,
  LAYOUT_VERSION,
  PROFILE_STEP,
} from './forward-batch-layout.js';
import { CsrStarts, OptionalFloats, OptionalInts } from './optional-lists.js';
import { WordList } from './word-list.js';

export class ForwardBatchWriter {
  readonly #tokenIds = new WordList();
  readonly #positions = new WordList();
  readonly #kvSlots = new WordList();
  readonly #reqSlots = new WordList();
  readonly #queryStart = new WordList();
  readonly #seqLens = new WordList();
  readonly #reqFlags = new WordList();
  readonly #blockStart = new WordList();
  readonly #blocks = new WordList();
  readonly #temperature = new OptionalFloats(GREEDY.temperature);
  readonly #topK = new OptionalInts(GREEDY.topK);
  readonly #topP = new OptionalFloats(GREEDY.topP);
  readonly #minP = new OptionalFloats(GREEDY.minP);
  readonly #frequencyPenalty = new OptionalFloats(GREEDY.frequencyPenalty);
  readonly #presencePenalty = new OptionalFloats(GREEDY.presencePenalty);
  readonly #repetitionPenalty = new OptionalFloats(GREEDY.repetitionPenalty);
  readonly #seeds = new OptionalInts(0);
  readonly #topLogprobs = new OptionalInts(GREEDY.topLogprobs);
  readonly #biasStart = new CsrStarts();
  readonly #biasIds = new WordList();
  readonly #biasValues = new WordList();
  readonly #historyStart = new CsrStarts();
  readonly #historyIds = new WordList();
  readonly #watchStart = new CsrStarts();
  readonly #watchIds = new WordList();
  readonly #rowTokens = new WordList();
  readonly #rowRequests = new WordList();
  readonly #rowTargets = new WordList();
  /** In the order of the layout. */
  readonly #sections: readonly WordList[];
  readonly #blockSize: number;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
    const byName: Record<ForwardBatchSection, WordList> = {
      tokenIds: this.#tokenIds,
      positions: this.#positions,
      kvSlots: this.#kvSlots,
      reqSlots: this.#reqSlots,
      queryStart: this.#queryStart,
      seqLens: this.#seqLens,
      reqFlags: this.#reqFlags,
      blockStart: this.#blockStart,
      blocks: this.#blocks,
      temperature: this.#temperature,
      topK: this.#topK,
      topP: this.#topP,
      minP: this.#minP,
      frequencyPenalty: this.#frequencyPenalty,
      presencePenalty: this.#presencePenalty,
      repetitionPenalty: this.#repetitionPenalty,
      seeds: this.#seeds,
      topLogprobs: this.#topLogprobs,
      biasStart: this.#biasStart,
      biasIds: this.#biasIds,
      biasValues: this.#biasValues,
      historyStart: this.#historyStart,
      historyIds: this.#historyIds,
      watchStart: this.#watchStart,
      watchIds: this.#watchIds,
      rowTokens: this.#rowTokens,
      rowRequests: this.#rowRequests,
      rowTargets: this.#rowTargets,
    };
    this.#sections = FORWARD_BATCH_SECTIONS.map(({ name }) => byName[name]);
  }

  get numRequests(): number {
    return this.#reqSlots.length;
  }

  /** What the request's arrays hold is copied now. */
  add(request: ForwardRequest): void {
    const index = this.numRequests;
    this.#addRows(request, index);
    this.#addTokens(request);
    this.#addSampling(request, index);
  }

  /** The buffer of the requests added, for `NativeEngine.submit`; `profile`: with spans. The writer is empty again. */
  finish(stepId: number, mode: ForwardMode, buffers: BufferPool, profile = false): ArrayBuffer {
    const header: Record<(typeof FORWARD_BATCH_HEADER)[number], number> = {
      magic: FORWARD_BATCH_MAGIC,
      version: LAYOUT_VERSION,
      totalWords: 0,
      stepId,
      mode: FORWARD_MODE[mode],
      numTokens: this.#tokenIds.length,
      numRequests: this.numRequests,
      numLogitRows: this.#rowTokens.length,
      blockSize: this.#blockSize,
      profile: profile ? PROFILE_STEP.record : PROFILE_STEP.off,
    };
    this.#queryStart.pushInt(this.#tokenIds.length);
    this.#blockStart.pushInt(this.#blocks.length);
    this.#biasStart.close(this.#biasIds.length);
    this.#historyStart.close(this.#historyIds.length);
    this.#watchStart.close(this.#watchIds.length);
    let wanted = HEADER_WORDS;
    for (const section of this.#sections) {
      wanted += section.length;
    }

    const buffer = buffers.take(wanted);
    const words = new Int32Array(buffer);
    header.totalWords = words.length; // the pool rounds up; what lies behind the last section means nothing
    for (let i = 0; i < FORWARD_BATCH_HEADER.length; i++) words[i] = header[FORWARD_BATCH_HEADER[i]!];
    let offset = HEADER_WORDS;
    for (let i = 0; i < this.#sections.length; i++) {
      const section = this.#sections[i]!;
      words[DIRECTORY_START + 2 * i] = offset;
      words[DIRECTORY_START + 2 * i + 1] = section.length;
      if (section.length > 0) words.set(section.words(), offset);
      offset += section.length;
    }
    this.clear();
    return buffer;
  }

  clear(): void {
    for (const section of this.#sections) section.clear();
  }

  #addRows({ tokenIds, sample, scored, scoredFrom }: ForwardRequest, index: number): void {
    const firstToken = this.#tokenIds.length;
    for (let i = 0; i < scored.length; i++) {
      this.#rowTokens.pushInt(firstToken + scoredFrom + i);
      this.#rowRequests.pushInt(index);
      this.#rowTargets.pushInt(scored[i]!);
    }
    if (!sample) return;
    this.#rowTokens.pushInt(firstToken + tokenIds.length - 1);
    this.#rowRequests.pushInt(index);
    this.#rowTargets.pushInt(-1);
  }

  #addTokens({ slot, flags, tokenIds, firstPosition, blocks }: ForwardRequest): void {
    const blockSize = this.#blockSize;
    const count = tokenIds.length;
    const end = firstPosition + count;
    this.#reqSlots.pushInt(slot);
    this.#reqFlags.pushInt(flags);
    this.#queryStart.pushInt(this.#tokenIds.length);
    this.#blockStart.pushInt(this.#blocks.length);
    this.#seqLens.pushInt(end);
    this.#tokenIds.pushInts(tokenIds, count);
    const at = this.#positions.extend(count);
    this.#kvSlots.extend(count);
    const positions = this.#positions.ints;
    const kvSlots = this.#kvSlots.ints;
    let block = Math.floor(firstPosition / blockSize);
    let offset = firstPosition - block * blockSize;
    for (let i = 0; i < count; i++) {
      positions[at + i] = firstPosition + i;
      kvSlots[at + i] = blocks[block]! * blockSize + offset;
      offset += 1;
      if (offset === blockSize) {
        offset = 0;
        block += 1;
      }
    }
    this.#blocks.pushInts(blocks, Math.ceil(end / blockSize));
  }

  #addSampling({ sampling, bias, history }: ForwardRequest, index: number): void {
    this.#temperature.put(index, sampling.temperature);
    this.#topK.put(index, sampling.topK);
    this.#topP.put(index, sampling.topP);
    this.#minP.put(index, sampling.minP);
    this.#frequencyPenalty.put(index, sampling.frequencyPenalty);
    this.#presencePenalty.put(index, sampling.presencePenalty);
    this.#repetitionPenalty.put(index, sampling.repetitionPenalty);
    this.#topLogprobs.put(index, sampling.topLogprobs);
    this.#seeds.put(2 * index, sampling.seed | 0); // the low 32 bits, whatever its size
    this.#seeds.put(2 * index + 1, (sampling.seed / 2 ** 32) | 0);
    const { watchIds } = sampling;
    this.#biasStart.open(index, bias.ids.length, this.#biasIds.length);
    this.#historyStart.open(index, history.length, this.#historyIds.length);
    this.#watchStart.open(index, watchIds.length, this.#watchIds.length);
    if (bias.ids.length > 0) {
      this.#biasIds.pushInts(bias.ids, bias.ids.length);
      this.#biasValues.pushFloats(bias.values);
    }
    if (history.length > 0) this.#historyIds.pushInts(history, history.length);
    if (watchIds.length > 0) this.#watchIds.pushInts(watchIds, watchIds.length);
  }
}

/** The buffer of a batch given as plain objects. */
export function encodeForwardBatch(batch: ForwardBatch, buffers: BufferPool = new BufferPool()): ArrayBuffer {
  const writer = new ForwardBatchWriter(batch.blockSize);
  for (const request of batch.requests) writer.add(request);
  return writer.finish(batch.stepId, batch.mode, buffers, batch.profile);
}
