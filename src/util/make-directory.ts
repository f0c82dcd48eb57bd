// Folders for files that are about to be written.
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes the folder `path` and those above it where they are missing. Node's `recursive` tries for ever in file systems that
 * answer ENOENT to every attempt (/proc); this asks once for each folder. Errors: those of mkdir.
 */
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

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}
