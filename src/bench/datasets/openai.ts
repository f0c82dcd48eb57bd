// Dataset openai: whole chat requests, one JSON object a line, in the order of the file.
import type { ChatTemplate } from '../../tokenizer/chat-template.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { isJsonObject, type JsonObject } from '../../util/read-json.js';
import type { BenchRequest, ChatMessage, Workload } from './bench-request.js';
import { inTurns } from './in-turns.js';
import { readJsonLines } from './json-lines.js';
import { RowCounter } from './row-counter.js';

/** SGLang's, for rows that do not say. */
const DEFAULT_OUTPUT_LEN = 256;

export interface OpenAiSettings {
  /** A JSONL file. */
  readonly path: string;
  readonly numPrompts: number;
  /** Output length of every request; undefined: that of the row. */
  readonly outputLen: number | undefined;
  /** Counts prompt tokens; without one they are those of the messages' texts alone, and a note says so. */
  readonly chatTemplate: ChatTemplate | undefined;
}

export async function openAiWorkload(
  tokenizer: Tokenizer,
  settings: OpenAiSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const skipped = new RowCounter();
  const requests: BenchRequest[] = [];
  for await (const row of inTurns(readJsonLines(settings.path, '--dataset-path'), signal)) {
    if (requests.length === settings.numPrompts) break;
    const request = 'value' in row ? await readRow(row.value, tokenizer, settings) : 'not valid JSON';
    if (typeof request === 'string') skipped.skip(request);
    else requests.push(request);
  }
  const notes = ['The tokenizer has no chat template: prompt lengths are those of the texts of the messages alone'];
  return { requests, skipped: skipped.counts, ...(settings.chatTemplate === undefined ? { notes } : {}) };
}

/** The request, or why the row is none. */
async function readRow(row: unknown, tokenizer: Tokenizer, settings: OpenAiSettings): Promise<BenchRequest | string> {
  if (!isJsonObject(row)) return 'row is not an object';
  // The model is the one under test, whatever the row was written for.
  const { messages, max_tokens: maxTokens, max_completion_tokens: maxCompletionTokens, model, ...body } = row;
  if (!Array.isArray(messages) || messages.length === 0) return 'no list of messages';
  if (!messages.every((message) => isJsonObject(message) && typeof message.role === 'string')) {
    return 'a message without a role';
  }
  if (!messages.every(({ content }) => isText(content))) return 'content that is not text';
  const outputLen = settings.outputLen ?? maxTokens ?? maxCompletionTokens ?? DEFAULT_OUTPUT_LEN;
  if (!Number.isSafeInteger(outputLen) || (outputLen as number) < 1) return 'max_tokens is not a positive integer';
  let promptLen: number;
  try {
    promptLen = await countTokens(messages, body, tokenizer, settings.chatTemplate);
  } catch (thrown) {
    if (thrown instanceof VitrineError && thrown.code === 'INVALID_REQUEST') return thrown.message;
    throw thrown;
  }
  return {
    prompt: messages as ChatMessage[],
    promptLen,
    outputLen: outputLen as number,
    ...(Object.keys(body).length === 0 ? {} : { body }),
  };
}

/** A string, a list of text parts, or nothing (messages that only call tools). */
function isText(content: unknown): boolean {
  if (Array.isArray(content)) return content.every((part) => isJsonObject(part) && typeof part.text === 'string');
  return content === undefined || content === null || typeof content === 'string';
}

/** By SGLang's rule: the rendered messages, and the JSON of the tools. Error: INVALID_REQUEST */
async function countTokens(
  messages: readonly JsonObject[],
  { tools }: JsonObject,
  tokenizer: Tokenizer,
  template: ChatTemplate | undefined,
): Promise<number> {
  const text =
    template === undefined
      ? messages.map(({ content }) => textOf(content)).join('\n')
      : template.render(messages as Parameters<ChatTemplate['render']>[0], { addGenerationPrompt: true });
  const ofMessages = await tokenizer.encode(text, false);
  const ofTools = tools === undefined || tools === null ? [] : await tokenizer.encode(JSON.stringify(tools), false);
  return ofMessages.length + ofTools.length;
}

function textOf(content: unknown): string {
  if (!Array.isArray(content)) return typeof content === 'string' ? content : '';
  return content.map((part: { readonly text: string }) => part.text).join('');
}
