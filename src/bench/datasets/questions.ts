// Requests out of conversations (sharegpt, custom): the first question is the prompt, the first answer gives the length.
import type { ChatTemplate } from '../../tokenizer/chat-template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import type { BenchRequest, Workload } from './bench-request.js';
import type { Conversation } from './conversation-rows.js';
import { inTurns } from './in-turns.js';
import type { RowCounter } from './row-counter.js';

const ASSISTANT = 'Assistant:';

export interface QuestionSettings {
  readonly numPrompts: number;
  readonly seed: number;
  /** Output length of every request; undefined: that of the reference answer. */
  readonly outputLen: number | undefined;
  /** Rows whose prompt and output exceed it are left out. */
  readonly contextLen: number | undefined;
  readonly promptSuffix: string;
  /** Renders each prompt; undefined sends it as it is. */
  readonly chatTemplate: ChatTemplate | undefined;
}

/** `conversations` are shuffled in place; those that cannot be used are counted in `skipped`. */
export async function questionWorkload(
  tokenizer: Tokenizer,
  conversations: Conversation[],
  skipped: RowCounter,
  settings: QuestionSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  new Random(settings.seed, 'conversation order').shuffle(conversations);
  const contextLen = settings.contextLen ?? Number.POSITIVE_INFINITY;
  const requests: BenchRequest[] = [];
  for await (const { question, answer } of inTurns(conversations, signal)) {
    if (requests.length === settings.numPrompts) break;
    const prompt = dressPrompt(question, tokenizer, settings);
    const promptLen = (await tokenizer.encode(prompt, true)).length;
    const outputLen = settings.outputLen ?? (await tokenizer.encode(answer, true)).length;
    if (promptLen < 2 || outputLen < 2) skipped.skip('prompt or answer shorter than two tokens');
    else if (promptLen + outputLen > contextLen) skipped.skip('longer than --sharegpt-context-len');
    else requests.push({ prompt, promptLen, outputLen });
  }
  return { requests, skipped: skipped.counts };
}

function dressPrompt(question: string, tokenizer: Tokenizer, settings: QuestionSettings): string {
  let prompt = question;
  if (settings.promptSuffix !== '') {
    const stem = prompt.endsWith(ASSISTANT) ? prompt.slice(0, -ASSISTANT.length) : prompt;
    prompt = `${stem}${settings.promptSuffix}${ASSISTANT}`;
  }
  if (settings.chatTemplate === undefined) return prompt;
  const rendered = settings.chatTemplate.render([{ role: 'user', content: prompt }], { addGenerationPrompt: true });
  // The server adds bos again when it encodes the text.
  const bos = tokenizer.bosTokenId === undefined ? '' : tokenizer.tokenText(tokenizer.bosTokenId);
  return bos === '' ? rendered : rendered.replaceAll(bos, '');
}
