// Dataset random: text of random lengths, from ShareGPT questions where a file is given, else from the vocabulary.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import type { BenchRequest, Workload } from './bench-request.js';
import { inTurns } from './in-turns.js';
import { drawLengths, type RandomLengths, type RandomSettings } from './random-lengths.js';
import { RowCounter } from './row-counter.js';
import { readShareGpt } from './sharegpt-file.js';
import { VocabularyText } from './vocabulary-text.js';

/** `path`: a ShareGPT file, or '' for none. Nothing is downloaded. */
export async function randomWorkload(
  tokenizer: Tokenizer,
  path: string,
  settings: RandomSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const specialTokens = (await tokenizer.encode('', true)).length;
  const lengths = drawLengths(settings, specialTokens);
  if (path !== '') return shareGptText(tokenizer, path, settings, lengths, signal);
  const source = await VocabularyText.create(tokenizer, settings.seed, signal);
  const requests: BenchRequest[] = [];
  for await (const [i, wanted] of inTurns(lengths.inputs.entries(), signal)) {
    const { text, ids } = await source.next(wanted);
    requests.push({
      prompt: settings.tokenizePrompt ? ids : text,
      promptLen: ids.length,
      outputLen: lengths.outputs[i]!,
    });
  }
  return { requests, skipped: {} };
}

/** Each question's tokens are repeated up to the wanted length and cut there; one prompt for each usable row. */
async function shareGptText(
  tokenizer: Tokenizer,
  path: string,
  settings: RandomSettings,
  lengths: RandomLengths,
  signal: AbortSignal | undefined,
): Promise<Workload> {
  const skipped = new RowCounter();
  const conversations = await readShareGpt(path, skipped, signal);
  new Random(settings.seed, 'random order').shuffle(conversations);
  const requests: BenchRequest[] = [];
  for await (const { question } of inTurns(conversations, signal)) {
    const i = requests.length;
    if (i === settings.numPrompts) break;
    const own = await tokenizer.encode(question, true);
    if (own.length === 0) {
      skipped.skip('empty prompt');
      continue;
    }
    const promptLen = lengths.inputs[i]!;
    const ids = Array.from({ length: promptLen }, (_, j) => own[j % own.length]!);
    const prompt = settings.tokenizePrompt ? ids : tokenizer.decode(ids, false);
    requests.push({ prompt, promptLen, outputLen: lengths.outputs[i]! });
  }
  return { requests, skipped: skipped.counts };
}
