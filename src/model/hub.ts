// --model-path and --tokenizer-path → a local folder: as given, from the Hugging Face cache, or downloaded into it.
import { createWriteStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { downloadFile, HubApiError, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { weightFileNames } from './checkpoint.js';
import { HubCache, isCommit } from './hub-cache.js';
import { type Environment, hubCacheDirectory, hubEndpoint, hubToken, isOffline } from './hub-environment.js';

/** Which files are needed. config: config.json and generation_config.json; model: those and the weights. */
export type WantedFiles = 'config' | 'model' | 'tokenizer';

export interface ResolveOptions {
  /** Branch, tag or commit of a hub id. */
  readonly revision: string;
  readonly what: WantedFiles;
  /** Looks at a folder that has its config and is yet to get its weights; what it throws keeps them from being downloaded. */
  readonly beforeWeights?: (directory: string) => Promise<void>;
  readonly log?: Log;
  /** Default: process.env. */
  readonly env?: Environment;
}

const CONFIG_FILES = ['config.json', 'generation_config.json'];
const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'chat_template.json',
];
const INDEX_FILE = 'model.safetensors.index.json';
const REQUIRED_FILE: Readonly<Record<WantedFiles, RegExp>> = {
  config: /^config\.json$/,
  model: /\.safetensors$/,
  tokenizer: /^tokenizer\.json$/,
};
const REVISION = /^(?!.*\.\.)[\w-][\w./-]*$/;
const HUB_ID = /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/;

/**
 * An absolute folder. A name that is no local folder is taken for a hub id (`owner/name`). HF_HUB_OFFLINE=1 looks in the
 * cache only; when the hub cannot be reached, a cached copy is used. Error: MODEL_NOT_FOUND, saying what to do.
 */
export async function resolveModelDirectory(pathOrId: string, options: ResolveOptions): Promise<string> {
  const status = await stat(pathOrId).catch(() => null);
  if (status?.isDirectory()) return resolve(pathOrId);
  if (status !== null) throw notFound(`${pathOrId} is a file; expected a folder in Hugging Face layout or a hub id.`);
  if (!HUB_ID.test(pathOrId)) {
    throw notFound(`Folder ${pathOrId} does not exist (and it is no hub id of the form owner/name).`);
  }
  if (!REVISION.test(options.revision)) {
    const message = `--revision must be a branch, tag or commit, got "${options.revision}".`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--revision' });
  }
  const env = options.env ?? process.env;
  const cache = new HubCache(hubCacheDirectory(env), pathOrId);
  if (isOffline(env)) {
    const cached = await findCached(cache, options);
    if (cached !== undefined) return cached;
    throw notFound(
      `${pathOrId} (revision ${options.revision}) is neither a folder nor in the Hugging Face cache ` +
        `${hubCacheDirectory(env)}, and HF_HUB_OFFLINE forbids downloading it.`,
    );
  }
  try {
    return await download(pathOrId, cache, options, env);
  } catch (thrown) {
    if (thrown instanceof VitrineError) throw thrown;
    if (thrown instanceof HubApiError && thrown.statusCode < 500)
      throw refusedByHub(pathOrId, options.revision, thrown);
    const cached = await findCached(cache, options);
    if (cached !== undefined) {
      options.log?.warn(`Cannot reach ${hubEndpoint(env)}; using the cached copy of ${pathOrId}: ${cached}`);
      return cached;
    }
    throw unreachable(pathOrId, hubEndpoint(env), toError(thrown));
  }
}

/** A snapshot that holds at least the one file nothing works without; readers check the rest. */
async function findCached(cache: HubCache, { revision, what }: ResolveOptions): Promise<string | undefined> {
  const commit = await cache.findCommit(revision);
  if (commit === undefined) return undefined;
  const directory = cache.snapshotDirectory(commit);
  const names = await readdir(directory);
  return names.some((name) => REQUIRED_FILE[what].test(name)) ? directory : undefined;
}

async function download(id: string, cache: HubCache, options: ResolveOptions, env: Environment): Promise<string> {
  const token = await hubToken(env);
  const hub = { hubUrl: hubEndpoint(env), ...(token === undefined ? {} : { accessToken: token }) };
  const { revision, what, log } = options;
  const { sha: commit } = await modelInfo({ ...hub, name: id, revision, additionalFields: ['sha'] });
  if (!isCommit(commit)) throw new Error(`the hub names commit "${commit}"`);
  const listed: ListFileEntry[] = [];
  for await (const entry of listFiles({ ...hub, repo: id, revision: commit })) {
    if (entry.type === 'file' && !/[/\\]/.test(entry.path)) listed.push(entry);
  }
  const names = listed.map((entry) => entry.path);
  const wanted = wantedFiles(names, what);
  if (!wanted.some((name) => REQUIRED_FILE[what].test(name))) {
    const expected = { config: 'config.json', model: 'weights in safetensors format', tokenizer: 'tokenizer.json' }[
      what
    ];
    throw notFound(`${id} (revision ${revision}) on ${hub.hubUrl} has no ${expected}.`);
  }
  const fetch = async (entry: ListFileEntry): Promise<void> => {
    const blob = entry.lfs?.oid ?? entry.oid ?? entry.xetHash;
    if (blob === undefined || !/^\w+$/.test(blob)) throw new Error(`the hub gives no hash for ${entry.path}`);
    await cache.addFile(commit, entry.path, blob, async (path) => {
      log?.info(`Downloading ${id}/${entry.path} (${(entry.size / 1e6).toFixed(1)} MB)`);
      const file = await downloadFile({ ...hub, repo: id, path: entry.path, revision: commit });
      if (file === null) throw new Error(`${entry.path} is listed but cannot be downloaded`);
      await pipeline(Readable.fromWeb(file.stream() as ReadableStream), createWriteStream(path));
      const { size } = await stat(path);
      if (size !== entry.size) throw new Error(`${entry.path}: got ${size} of ${entry.size} bytes`);
    });
  };
  const isConfig = ({ path }: ListFileEntry): boolean => CONFIG_FILES.includes(path);
  const entries = listed.filter(({ path }) => wanted.includes(path));
  for (const entry of entries.filter(isConfig)) await fetch(entry);
  if (what === 'model') await options.beforeWeights?.(cache.snapshotDirectory(commit));
  for (const entry of entries.filter((each) => !isConfig(each))) await fetch(entry);
  // Only now: a ref must never lead to a snapshot that is still being filled.
  await cache.writeRef(revision, commit);
  return cache.snapshotDirectory(commit);
}

function wantedFiles(names: readonly string[], what: WantedFiles): readonly string[] {
  const wanted = new Set(what === 'tokenizer' ? TOKENIZER_FILES : CONFIG_FILES);
  if (what === 'model') {
    for (const name of weightFileNames(names, undefined)) wanted.add(name);
    wanted.add(INDEX_FILE);
  }
  return names.filter((name) => wanted.has(name));
}

function notFound(message: string, cause?: unknown): VitrineError {
  return new VitrineError('MODEL_NOT_FOUND', message, { cause });
}

function refusedByHub(id: string, revision: string, error: HubApiError): VitrineError {
  if (error.statusCode === 401 || error.statusCode === 403) {
    return notFound(
      `The hub refuses access to ${id}: it does not exist, is private, or its licence must be accepted on its page first. ` +
        'Set HF_TOKEN to a token that may read it.',
      error,
    );
  }
  if (error.statusCode === 404) {
    return notFound(`${id} is neither a local folder nor a model on the hub with revision ${revision}.`, error);
  }
  return notFound(`The hub answers ${error.statusCode} for ${id}: ${error.message}`, error);
}

function unreachable(id: string, endpoint: string, error: Error): VitrineError {
  const cause = error.cause === undefined ? '' : ` (${toError(error.cause).message})`;
  return notFound(
    `${id} is no local folder, and it cannot be downloaded from ${endpoint}: ${error.message}${cause}. ` +
      'Give the path of a downloaded folder, or set HF_ENDPOINT to a mirror or HF_HUB_CACHE to a filled cache.',
    error,
  );
}
