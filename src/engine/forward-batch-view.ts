// Reads the buffer of a ForwardBatch: its sections as typed arrays, or the whole batch as plain objects.
import { type ForwardBatch, type ForwardRequest, GREEDY, NO_BIAS } from './forward-batch.js';
import {
  FORWARD_BATCH_HEADER,
  FORWARD_BATCH_MAGIC,
  FORWARD_BATCH_SECTIONS,
  FORWARD_MODE,
  type ForwardBatchSection,
  type ForwardMode,
  PROFILE_STEP,
} from './forward-batch-layout.js';
import { SectionReader } from './section-reader.js';

export type ForwardBatchHeaderWord = (typeof FORWARD_BATCH_HEADER)[number];
export type ForwardBatchView = SectionReader<ForwardBatchHeaderWord, ForwardBatchSection>;

/** Typed-array views of the sections. No copies: they change with the buffer. Throws INTERNAL for another buffer. */
export const viewForwardBatch: (buffer: ArrayBuffer) => ForwardBatchView = SectionReader.of({
  what: 'ForwardBatch',
  magic: FORWARD_BATCH_MAGIC,
  header: FORWARD_BATCH_HEADER,
  sections: FORWARD_BATCH_SECTIONS as readonly ((typeof FORWARD_BATCH_SECTIONS)[number] & { optional: boolean })[],
});

const MODES = Object.keys(FORWARD_MODE) as ForwardMode[];

/** The batch that was encoded, for dumps, replays and tests; sections that were left out read as their defaults. */
export function decodeForwardBatch(buffer: ArrayBuffer): ForwardBatch {
  const view = viewForwardBatch(buffer);
  const queryStart = view.ints('queryStart');
  const rowStart = rowStarts(view);
  const requests: ForwardRequest[] = [];
  for (let r = 0; r < view.header('numRequests'); r++) {
    requests.push(decodeRequest(view, r, queryStart[r]!, queryStart[r + 1]!, rowStart[r]!, rowStart[r + 1]!));
  }
  return {
    stepId: view.header('stepId'),
    mode: MODES.find((mode) => FORWARD_MODE[mode] === view.header('mode'))!,
    blockSize: view.header('blockSize'),
    requests,
    ...(view.header('profile') === PROFILE_STEP.record ? { profile: true } : {}),
  };
}

/** First logit row of each request, and the end. */
function rowStarts(view: ForwardBatchView): Int32Array {
  const starts = new Int32Array(view.header('numRequests') + 1);
  for (const request of view.ints('rowRequests')) starts[request + 1]! += 1;
  for (let r = 1; r < starts.length; r++) starts[r]! += starts[r - 1]!;
  return starts;
}

function decodeRequest(
  view: ForwardBatchView,
  r: number,
  firstToken: number,
  endToken: number,
  firstRow: number,
  endRow: number,
): ForwardRequest {
  const int = (name: ForwardBatchSection, fallback: number) => view.ints(name)[r] ?? fallback;
  const float = (name: ForwardBatchSection, fallback: number) => view.floats(name)[r] ?? fallback;
  const list = (start: ForwardBatchSection, values: ForwardBatchSection) =>
    view.ints(start).length === 0 ? [] : [...view.intRow(start, values, r)];
  const targets = view.ints('rowTargets').subarray(firstRow, endRow);
  const sample = targets.at(-1) === -1;
  const scored = [...(sample ? targets.subarray(0, -1) : targets)];
  const seeds = view.ints('seeds');
  const biasIds = list('biasStart', 'biasIds');
  return {
    slot: int('reqSlots', -1),
    tokenIds: [...view.ints('tokenIds').subarray(firstToken, endToken)],
    firstPosition: view.ints('positions')[firstToken]!,
    blocks: [...view.intRow('blockStart', 'blocks', r)],
    flags: int('reqFlags', 0),
    sample,
    scored,
    scoredFrom: scored.length === 0 ? 0 : view.ints('rowTokens')[firstRow]! - firstToken,
    sampling: {
      temperature: float('temperature', GREEDY.temperature),
      topK: int('topK', GREEDY.topK),
      topP: float('topP', GREEDY.topP),
      minP: float('minP', GREEDY.minP),
      frequencyPenalty: float('frequencyPenalty', GREEDY.frequencyPenalty),
      presencePenalty: float('presencePenalty', GREEDY.presencePenalty),
      repetitionPenalty: float('repetitionPenalty', GREEDY.repetitionPenalty),
      seed: seeds.length === 0 ? 0 : (seeds[2 * r + 1]! >>> 0) * 2 ** 32 + (seeds[2 * r]! >>> 0),
      topLogprobs: int('topLogprobs', GREEDY.topLogprobs),
      watchIds: list('watchStart', 'watchIds'),
    },
    bias: biasIds.length === 0 ? NO_BIAS : { ids: biasIds, values: [...view.floatRow('biasStart', 'biasValues', r)] },
    history: list('historyStart', 'historyIds'),
  };
}
