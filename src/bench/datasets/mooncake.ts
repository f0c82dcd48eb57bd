// Dataset mooncake: arrival times, lengths and shared prefixes of a service's real traffic (Qin et al., "Mooncake", FAST
// 2025). The traces hold no text: where two requests name the same block hash, they began with the same block.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { isJsonObject } from '../../util/read-json.js';
import type { BenchRequest, Workload } from './bench-request.js';
import { countPromptTokens } from './count-tokens.js';
import { inTurns } from './in-turns.js';
import { readJsonLines } from './json-lines.js';
import { RowCounter } from './row-counter.js';

/** Where the traces are in the repository kvcache-ai/Mooncake, below FAST25-release. */
const TRACES = {
  mooncake: 'arxiv-trace/mooncake_trace.jsonl',
  conversation: 'traces/conversation_trace.jsonl',
  synthetic: 'traces/synthetic_trace.jsonl',
  toolagent: 'traces/toolagent_trace.jsonl',
} as const;
const RELEASE = 'https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release';

export interface MooncakeSettings {
  /** A trace, or the folder that holds the release's `arxiv-trace` and `traces`. */
  readonly path: string;
  /** Which trace of the folder. */
  readonly workload: keyof typeof TRACES;
  readonly numPrompts: number;
  /** Factor on the time between arrivals. */
  readonly slowdownFactor: number;
  /** Questions of each conversation; each repeats the blocks, as in SGLang. */
  readonly numRounds: number;
}

interface TraceRow {
  /** Milliseconds. */
  readonly timestamp: number;
  readonly hashIds: readonly number[];
  readonly outputLen: number;
}

/** The first `numPrompts` usable rows of the file, in the order of their arrival. */
export async function mooncakeWorkload(
  tokenizer: Tokenizer,
  settings: MooncakeSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const skipped = new RowCounter();
  const rows: TraceRow[] = [];
  for await (const line of inTurns(readJsonLines(await findTrace(settings), '--dataset-path'), signal)) {
    if (rows.length === settings.numPrompts) break;
    const row = 'value' in line ? readRow(line.value) : 'not valid JSON';
    if (typeof row === 'string') skipped.skip(row);
    else rows.push(row);
  }
  rows.sort((a, b) => a.timestamp - b.timestamp);
  const turns = rows.map(({ hashIds }) => writeTurns(hashIds, settings.numRounds));
  const promptLens = await countPromptTokens(
    tokenizer,
    turns.map(([opening]) => opening!),
    signal,
  );
  const requests: BenchRequest[] = [];
  for (const [i, { timestamp, outputLen }] of rows.entries()) {
    const [prompt, ...further] = turns[i]!;
    const tokens = await countPromptTokens(tokenizer, further, signal);
    const followUps = further.map((text, round) => ({ text, tokens: tokens[round]!, outputLen }));
    requests.push({
      prompt: prompt!,
      promptLen: promptLens[i]!,
      outputLen,
      timestamp: ((timestamp - rows[0]!.timestamp) / 1000) * settings.slowdownFactor,
      ...(followUps.length > 0 ? { followUps } : {}),
    });
  }
  return { requests, skipped: skipped.counts };
}

/** What the user says in each round. */
function writeTurns(hashIds: readonly number[], rounds: number): string[] {
  const blocks = hashIds.map(blockText).join('');
  return Array.from({ length: rounds }, (_, round) => `${blocks}${question(round + 1)}`);
}

/** SGLang's text of a block: always the same for a hash. The trace's own blocks have 512 tokens, these some 130. */
const blockText = (hash: number): string => `${hash}${' hi'.repeat(128)}`;

/** At the end, so that the blocks before it are a shared prefix. */
const question = (round: number): string => `\nQuestion ${round}: what does this say?`;

/** The row, or why it cannot be used. */
function readRow(row: unknown): TraceRow | string {
  if (!isJsonObject(row)) return 'row is not an object';
  const { timestamp, hash_ids: hashIds, output_length: outputLen } = row;
  if (typeof timestamp !== 'number') return 'no timestamp';
  if (!Array.isArray(hashIds) || !hashIds.every((hash) => Number.isSafeInteger(hash))) return 'no list of hash_ids';
  if (!Number.isSafeInteger(outputLen) || (outputLen as number) < 1) return 'output_length is not a positive integer';
  return { timestamp, hashIds: hashIds as number[], outputLen: outputLen as number };
}

/** @throws VitrineError INVALID_OPTION that says how to get the file */
async function findTrace({ path, workload }: MooncakeSettings): Promise<string> {
  const trace = TRACES[workload];
  const isFolder = path !== '' && (await stat(path).catch(() => undefined))?.isDirectory();
  if (path !== '' && !isFolder) return path;
  const inFolder = join(path, trace);
  if (isFolder && (await stat(inFolder).catch(() => undefined))?.isFile()) return inFolder;
  const lack = isFolder ? `${inFolder} is not there` : 'there is no --dataset-path';
  throw new VitrineError(
    'INVALID_OPTION',
    `--dataset-name mooncake needs a trace, but ${lack}: fetch it with \`curl -LO ${RELEASE}/${trace}\` and give ` +
      `the file with --dataset-path (--mooncake-workload chooses among ${Object.keys(TRACES).join(', ')})`,
    { param: '--dataset-path' },
  );
}
