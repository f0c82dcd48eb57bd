// Dataset sharegpt: real questions, and the lengths of their reference answers.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { Workload } from './bench-request.js';
import { type QuestionSettings, questionWorkload } from './questions.js';
import { RowCounter } from './row-counter.js';
import { findShareGpt, readShareGpt } from './sharegpt-file.js';

/** `path`: a JSON array of conversations; '' looks in the Hugging Face cache. */
export async function shareGptWorkload(
  tokenizer: Tokenizer,
  path: string,
  settings: QuestionSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const skipped = new RowCounter();
  const conversations = await readShareGpt(await findShareGpt(path), skipped, signal);
  return questionWorkload(tokenizer, conversations, skipped, settings, signal);
}
