// Dataset custom: the user's own conversations, one JSON object a line, used by the rules of sharegpt.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import type { Workload } from './bench-request.js';
import { collectConversations } from './conversation-rows.js';
import { readJsonLines } from './json-lines.js';
import { type QuestionSettings, questionWorkload } from './questions.js';
import { RowCounter } from './row-counter.js';

/** `path`: a JSONL file. */
export async function customWorkload(
  tokenizer: Tokenizer,
  path: string,
  settings: QuestionSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const skipped = new RowCounter();
  const conversations = await collectConversations(readJsonLines(path, '--dataset-path'), skipped, signal);
  return questionWorkload(tokenizer, conversations, skipped, settings, signal);
}
