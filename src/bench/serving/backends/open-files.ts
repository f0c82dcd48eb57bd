// The limit of open files, which is one of connections too.
import { readFile } from 'node:fs/promises';
import type { BenchServingOptions } from '../../../config/tables/bench-serving-options.js';

/** Standard streams, the event loop's own descriptors, the result file, modules. */
const OWN_FILES = 64;

/**
 * A warning where the run may open more connections than the system allows, else undefined. Node.js has raised the soft
 * limit to the hard one when it started, so there is nothing more to raise.
 */
export async function openFilesWarning(options: BenchServingOptions, requests: number): Promise<string | undefined> {
  // Where that file is missing there is no such limit to be read.
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const limit = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const connections = Math.min(requests, options.maxConcurrency || Number.POSITIVE_INFINITY);
  if (connections + OWN_FILES <= limit) return undefined;
  const wanted = `up to ${connections} connections at once need ${connections + OWN_FILES}`;
  const hint = 'raise it (ulimit -Hn) or lower --max-concurrency';
  return `This process may have ${limit} open files, and ${wanted}; requests beyond that fail with EMFILE: ${hint}`;
}
