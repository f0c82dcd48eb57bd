// Dataset random-ids: prompts of consecutive token ids from a random start, by SGLang's rule.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import type { BenchRequest, Workload } from './bench-request.js';
import { inTurns } from './in-turns.js';
import { drawLengths, type RandomSettings } from './random-lengths.js';

/**
 * Token j of prompt i is (offset_i + i + j) mod vocabulary. As text (without tokenizePrompt) the true length differs from
 * the nominal one, because such text does not encode to the ids it was decoded from.
 */
export async function randomIdsWorkload(
  tokenizer: Tokenizer,
  settings: RandomSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const specialTokens = (await tokenizer.encode('', true)).length;
  const { inputs, outputs } = drawLengths(settings, specialTokens);
  const { vocabSize } = tokenizer;
  const random = new Random(settings.seed, 'random ids');
  const requests: BenchRequest[] = [];
  for await (const [i, promptLen] of inTurns(inputs.entries(), signal)) {
    const offset = random.integer(0, vocabSize - 1);
    const ids = Array.from({ length: promptLen }, (_, j) => (offset + i + j) % vocabSize);
    requests.push({
      prompt: settings.tokenizePrompt ? ids : tokenizer.decode(ids, false),
      promptLen,
      outputLen: outputs[i]!,
    });
  }
  return { requests, skipped: {} };
}
