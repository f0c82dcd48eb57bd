// Dataset workload, and --save-workload: every request of a run as it was sent, and when. One JSON object a line: a header,
// then the requests in the order of arrival. The same requests are the same bytes.
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { toError, VitrineError } from '../../util/errors.js';
import { describeJson, isJsonObject, type JsonObject } from '../../util/read-json.js';
import type { BenchRequest, FollowUp, Prompt, Workload } from './bench-request.js';
import { inTurns } from './in-turns.js';
import { readJsonLines } from './json-lines.js';
import { RowCounter } from './row-counter.js';

const FORMAT = 'vitrine-workload';
const VERSION = 1;

/**
 * `arrivals`: seconds after the start, of each request. `flags`: what the requests were made from, for whoever reads the
 * file. Error: INVALID_OPTION where the file cannot be written.
 */
export async function saveWorkload(
  path: string,
  { requests }: Workload,
  arrivals: Float64Array,
  flags: JsonObject,
): Promise<void> {
  function* lines(): Generator<string> {
    yield `${JSON.stringify({ format: FORMAT, version: VERSION, seed: flags.seed, flags })}\n`;
    for (const [index, request] of requests.entries()) yield `${JSON.stringify(toRow(request, arrivals[index]!))}\n`;
  }
  try {
    await pipeline(lines, createWriteStream(path));
  } catch (thrown) {
    const message = `--save-workload ${path}: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--save-workload', cause: thrown });
  }
}

/** All requests of a saved workload; their arrival times are their timestamps. */
export async function readWorkload(path: string, signal?: AbortSignal): Promise<Workload> {
  const skipped = new RowCounter();
  const requests: BenchRequest[] = [];
  let isFirst = true;
  for await (const line of inTurns(readJsonLines(path, '--dataset-path'), signal)) {
    const value = 'value' in line ? line.value : undefined;
    if (isFirst) {
      checkHeader(path, value);
      isFirst = false;
      continue;
    }
    const request = value === undefined ? 'not valid JSON' : fromRow(value);
    if (typeof request === 'string') skipped.skip(request);
    else requests.push(request);
  }
  if (isFirst) throw notSaved(path, 'it is empty');
  return { requests, skipped: skipped.counts };
}

function toRow(request: BenchRequest, at: number): JsonObject {
  return {
    at,
    prompt: request.prompt,
    prompt_len: request.promptLen,
    output_len: request.outputLen,
    follow_ups: request.followUps?.map(({ text, tokens, outputLen }) => ({ text, tokens, output_len: outputLen })),
    body: request.body,
    routing_key: request.routingKey,
    lora: request.lora,
  };
}

/** The request, or why the row is none. */
function fromRow(row: unknown): BenchRequest | string {
  if (!isJsonObject(row)) return 'row is not an object';
  const { at, prompt, prompt_len: promptLen, output_len: outputLen } = row;
  const { follow_ups: followUps, body, routing_key: routingKey, lora } = row;
  if (typeof at !== 'number' || at < 0) return 'at is no time';
  if (!isPrompt(prompt)) return 'prompt is neither text nor token ids nor messages';
  if (!isCount(promptLen) || !isCount(outputLen)) return 'prompt_len or output_len is no number of tokens';
  const turns = followUps === undefined ? undefined : readFollowUps(followUps);
  if (turns === null) return 'follow_ups is not a list of {text, tokens, output_len}';
  if (body !== undefined && !isJsonObject(body)) return 'body is not an object';
  if (routingKey !== undefined && typeof routingKey !== 'string') return 'routing_key is not text';
  if (lora !== undefined && typeof lora !== 'string') return 'lora is not text';
  return {
    prompt,
    promptLen,
    outputLen,
    timestamp: at,
    ...(turns === undefined ? {} : { followUps: turns }),
    ...(body === undefined ? {} : { body }),
    ...(routingKey === undefined ? {} : { routingKey }),
    ...(lora === undefined ? {} : { lora }),
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isPrompt(prompt: unknown): prompt is Prompt {
  if (typeof prompt === 'string') return true;
  if (!Array.isArray(prompt) || prompt.length === 0) return false;
  return prompt.every(isCount) || prompt.every((part) => isJsonObject(part) && typeof part.role === 'string');
}

/** null: not what it should be. */
function readFollowUps(value: unknown): FollowUp[] | null {
  if (!Array.isArray(value)) return null;
  const turns: FollowUp[] = [];
  for (const turn of value) {
    if (!isJsonObject(turn)) return null;
    const { text, tokens, output_len: outputLen } = turn;
    if (typeof text !== 'string' || !isCount(tokens) || !isCount(outputLen)) return null;
    turns.push({ text, tokens, outputLen });
  }
  return turns;
}

/** @throws VitrineError INVALID_OPTION */
function checkHeader(path: string, header: unknown): void {
  if (!isJsonObject(header) || header.format !== FORMAT) throw notSaved(path, 'its first line is no header');
  if (header.version !== VERSION) {
    throw notSaved(path, `it has version ${describeJson(header.version)} and this program reads ${VERSION}`);
  }
}

function notSaved(path: string, reason: string): VitrineError {
  const message = `--dataset-path ${path}: expected a file of --save-workload, but ${reason}`;
  return new VitrineError('INVALID_OPTION', message, { param: '--dataset-path' });
}
