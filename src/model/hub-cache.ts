// The cache folder shared by all Hugging Face tools: models--owner--name/{refs,snapshots,blobs}.
import { randomUUID } from 'node:crypto';
import { lstat, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { makeDirectory } from '../util/make-directory.js';

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

export class HubCache {
  readonly #repository: string;

  constructor(cacheDirectory: string, modelId: string) {
    this.#repository = join(cacheDirectory, `models--${modelId.split('/').join('--')}`);
  }

  snapshotDirectory(commit: string): string {
    return join(this.#repository, 'snapshots', commit);
  }

  /** The commit that `revision` (branch, tag, commit or unique start of one) had when it was last downloaded. */
  async findCommit(revision: string): Promise<string | undefined> {
    const snapshots: string[] = await readdir(join(this.#repository, 'snapshots')).catch(() => []);
    const ref = await readFile(join(this.#repository, 'refs', revision), 'utf8').catch(() => '');
    if (snapshots.includes(ref.trim())) return ref.trim();
    const matches = revision.length >= 7 ? snapshots.filter((commit) => commit.startsWith(revision)) : [];
    return matches.length === 1 ? matches[0] : undefined;
  }

  /** Remembers that `revision` is `commit`. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return;
    const path = join(this.#repository, 'refs', revision);
    await makeDirectory(dirname(path));
    await replaceFile(path, (temporary) => writeFile(temporary, commit));
  }

  /**
   * Makes `fileName` part of the snapshot; `fetch` writes the bytes to the path it gets, and is not called when they are
   * in the cache. Processes may do this at the same time: each writes its own temporary file and the last rename wins.
   */
  async addFile(
    commit: string,
    fileName: string,
    blobName: string,
    fetch: (path: string) => Promise<void>,
  ): Promise<void> {
    const pointer = join(this.snapshotDirectory(commit), fileName);
    if (await exists(pointer)) return;
    const blob = join(this.#repository, 'blobs', blobName);
    await makeDirectory(dirname(blob));
    await makeDirectory(dirname(pointer));
    if (!(await exists(blob))) await replaceFile(blob, fetch);
    const target = relative(dirname(pointer), blob);
    await replaceFile(pointer, (temporary) => symlink(target, temporary));
  }
}

/** Whether there is something at `path`; a link to nothing counts as nothing. */
async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomUUID()}.incomplete`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } catch (thrown) {
    if (await lstat(temporary).catch(() => null)) await rm(temporary, { force: true });
    throw thrown;
  }
}
