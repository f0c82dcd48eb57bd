// The ShareGPT file: where it is, and its conversations.
import { readdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VitrineError } from '../../util/errors.js';
import { type Conversation, collectConversations } from './conversation-rows.js';
import { readJsonArray } from './json-array.js';
import type { RowCounter } from './row-counter.js';

const REPOSITORY = 'anon8231489123/ShareGPT_Vicuna_unfiltered';
const FILE = 'ShareGPT_V3_unfiltered_cleaned_split.json';

/**
 * `path` if given, else the copy in the Hugging Face cache. Nothing is downloaded.
 * @throws VitrineError INVALID_OPTION that says how to get the file
 */
export async function findShareGpt(path: string, environment = process.env): Promise<string> {
  if (path !== '') return path;
  const home = environment.HF_HOME ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const cache = environment.HF_HUB_CACHE ?? join(home, 'hub');
  const snapshots = join(cache, `datasets--${REPOSITORY.replace('/', '--')}`, 'snapshots');
  for (const commit of (await readdir(snapshots).catch(() => [])).sort()) {
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

export function readShareGpt(path: string, skipped: RowCounter, signal?: AbortSignal): Promise<Conversation[]> {
  return collectConversations(readJsonArray(path, '--dataset-path'), skipped, signal);
}
