// Folders for files that are about to be written. Node's `recursive` tries for ever in file systems that answer ENOENT to
// every attempt (/proc); these ask once for each folder.
import { mkdirSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isFolder } from './is-folder.js';

/** Makes the folder `path` and those above it where they are missing. Errors: those of mkdir. */
export async function makeDirectory(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path) await makeDirectory(parent);
  try {
    await mkdir(path);
  } catch (thrown) {
    // Somebody else may have made it meanwhile.
    if (!(await isFolder(path))) throw thrown;
  }
}

/** The same for threads that may wait. */
export function makeDirectorySync(path: string): void {
  if (isFolderSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectorySync(parent);
  try {
    mkdirSync(path);
  } catch (thrown) {
    if (!isFolderSync(path)) throw thrown;
  }
}

function isFolderSync(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
