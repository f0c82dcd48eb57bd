// Dataset sharegpt: real questions, and the lengths of their reference answers.
import type { ChatTemplate } from '../../tokenizer/chat-template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import type { BenchRequest, Workload } from './bench-request.js';
import { RowCounter } from './row-counter.js';
import { findShareGpt, readConversations } from './sharegpt-file.js';

const ASSISTANT = 'Assistant:';

export interface ShareGptSettings {
  /** '' looks in the Hugging Face cache. */
  readonly path: string;
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

export async function shareGptWorkload(tokenizer: Tokenizer, settings: ShareGptSettings): Promise<Workload> {
  const skipped = new RowCounter();
  const conversations = await readConversations(await findShareGpt(settings.path), skipped);
  new Random(settings.seed, 'sharegpt order').shuffle(conversations);
  const requests: BenchRequest[] = [];
  for (const { question, answer } of conversations) {
    if (requests.length === settings.numPrompts) break;
    const prompt = dressPrompt(question, tokenizer, settings);
    const promptLen = (await tokenizer.encode(prompt, true)).length;
    const outputLen = settings.outputLen ?? (await tokenizer.encode(answer, true)).length;
    const contextLen = settings.contextLen ?? Number.POSITIVE_INFINITY;
    if (promptLen < 2 || outputLen < 2) skipped.skip('prompt or answer shorter than two tokens');
    else if (promptLen + outputLen > contextLen) skipped.skip('longer than --sharegpt-context-len');
    else requests.push({ prompt, promptLen, outputLen });
  }
  return { requests, skipped: skipped.counts };
}

function dressPrompt(question: string, tokenizer: Tokenizer, settings: ShareGptSettings): string {
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
