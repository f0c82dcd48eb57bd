// `vitrine merge-traces`: merges the trace files of ranks into one per profile and stage.
import type { MergeTracesOptions } from '../config/tables/trace-options.js';
import { mergeTraces } from '../trace/merge/trace-merger.js';

function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}

/** Resolves with the exit code: 0 also where damaged files were left out, which is said on stderr. */
export async function run({ inputs, output, profileId }: MergeTracesOptions): Promise<number> {
  const results = await mergeTraces({
    inputs,
    ...(output === undefined ? {} : { output }),
    ...(profileId === undefined ? {} : { profileId }),
  });
  for (const { output: path, events, sources, skipped, fileBytes, textBytes, warnings } of results) {
    const files = `${sources.length} file${sources.length === 1 ? '' : 's'}`;
    process.stdout.write(`${path}: ${events} events of ${files}, ${size(fileBytes)} (${size(textBytes)} of text)\n`);
    for (const { path: source, label, events: count } of sources) {
      process.stdout.write(`  ${label} ${source}: ${count} events\n`);
    }
    for (const { path: source, reason } of skipped) process.stderr.write(`warning: left out ${source}: ${reason}\n`);
    for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  }
  return 0;
}
