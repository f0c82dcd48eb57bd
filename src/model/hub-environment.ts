// The environment variables of the Hugging Face tools, read the way huggingface_hub reads them.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VitrineError } from '../util/errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'on', 'yes', 'true'].includes(value.toLowerCase());
}

/** HF_HUB_OFFLINE: use only what is in the cache. */
export function isOffline(env: Environment): boolean {
  return isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE);
}

/** HF_ENDPOINT without a trailing slash. */
export function hubEndpoint(env: Environment): string {
  return (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
}

function hfHome(env: Environment): string {
  return expandHome(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'));
}

/** HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub. */
export function hubCacheDirectory(env: Environment): string {
  return expandHome(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hfHome(env), 'hub'));
}

/** HF_TOKEN, else the token that `hf auth login` stored. */
export async function hubToken(env: Environment): Promise<string | undefined> {
  const file = expandHome(env.HF_TOKEN_PATH || join(hfHome(env), 'token'));
  const token = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || (await readFile(file, 'utf8').catch(() => ''));
  const trimmed = token.trim();
  if (trimmed !== '' && !trimmed.startsWith('hf_')) {
    throw new VitrineError('INVALID_OPTION', 'HF_TOKEN must start with "hf_".', { param: 'HF_TOKEN' });
  }
  return trimmed === '' ? undefined : trimmed;
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}
