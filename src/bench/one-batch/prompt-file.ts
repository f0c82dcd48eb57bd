// --prompt-filename: one prompt a line.
import { readFile } from 'node:fs/promises';
import { toError, VitrineError } from '../../util/errors.js';
import type { Output } from '../terminal/output.js';

/** The prompts, or none: then random token ids (or the fixed prompts) are used, as in SGLang. */
export async function readPrompts(path: string, output: Output): Promise<string[]> {
  if (path === '') return [];
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') {
      output.print(`Custom prompt file ${path} not found. Using default inputs...`);
      return [];
    }
    const message = `--prompt-filename ${path}: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--prompt-filename', cause: thrown });
  }
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** As many prompts as the batch has sequences: the first ones, or all and then the last one again. */
export function fitToBatch<T>(prompts: readonly T[], batchSize: number, output: Output): T[] {
  if (prompts.length > batchSize) {
    output.print(
      `Custom input size (${prompts.length}) is larger than batch_size (${batchSize}). Using the first ${batchSize} prompts.`,
    );
  } else if (prompts.length < batchSize) {
    output.print(
      `Custom input size (${prompts.length}) is smaller than batch_size (${batchSize}). Padding with the last prompt.`,
    );
  }
  return Array.from({ length: batchSize }, (_, i) => prompts[Math.min(i, prompts.length - 1)]!);
}
