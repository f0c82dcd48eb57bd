// ShareGPT conversations: where the file is, and the first question and answer of each conversation.
import { readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VitrineError } from '../../util/errors.js';
import { readJsonArray } from './json-array.js';
import type { RowCounter } from './row-counter.js';

const REPOSITORY = 'anon8231489123/ShareGPT_Vicuna_unfiltered';
const FILE = 'ShareGPT_V3_unfiltered_cleaned_split.json';

export interface Conversation {
  readonly question: string;
  readonly answer: string;
}

/**
 * `path` if given, else the copy in the Hugging Face cache. Nothing is downloaded.
 * @throws VitrineError INVALID_OPTION that says how to get the file
 */
export async function findShareGpt(path: string, environment = process.env): Promise<string> {
  if (path !== '') return path;
  const home = environment.HF_HOME ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const cache = environment.HF_HUB_CACHE ?? join(home, 'hub');
  const snapshots = join(cache, `datasets--${REPOSITORY.replace('/', '--')}`, 'snapshots');
  for (const commit of await readdir(snapshots).catch(() => [])) {
    const candidate = join(snapshots, commit, FILE);
    if ((await stat(candidate).catch(() => null))?.isFile()) return candidate;
  }
  throw new VitrineError(
    'INVALID_OPTION',
    `--dataset-name sharegpt needs a ShareGPT file: give one with --dataset-path, or put it into the Hugging Face cache with ` +
      `\`hf download --repo-type dataset ${REPOSITORY} ${FILE}\` (673 MB; it is not in ${cache}), ` +
      'or use --dataset-name random, which needs no file',
    { param: '--dataset-path' },
  );
}

/** The first two turns of every row that has them; other rows are counted and left out. */
export async function readConversations(path: string, skipped: RowCounter): Promise<Conversation[]> {
  const conversations: Conversation[] = [];
  for await (const element of readJsonArray(path, '--dataset-path')) {
    const turns = 'value' in element ? turnsOf(element.value) : 'not valid JSON';
    if (typeof turns === 'string') skipped.skip(turns);
    else conversations.push(turns);
  }
  return conversations;
}

/** The conversation, or why the row has none. */
function turnsOf(row: unknown): Conversation | string {
  if (typeof row !== 'object' || row === null) return 'row is not an object';
  const { conversations, conversation } = row as Record<string, unknown>;
  const turns = conversations ?? conversation;
  if (!Array.isArray(turns)) return 'no list of conversations';
  if (turns.length < 2) return 'fewer than two turns';
  const [question, answer] = turns.slice(0, 2).map((turn: unknown) => (turn as { value?: unknown } | null)?.value);
  if (typeof question !== 'string' || typeof answer !== 'string') return 'a turn without text';
  return { question, answer };
}
