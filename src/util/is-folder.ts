// Whether a path is that of a folder that can be looked at.
import { stat } from 'node:fs/promises';

export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}
