// `vitrine trace-summary`: where the time of a trace went, as tables or JSON.
import type { TraceSummaryOptions } from '../config/tables/trace-options.js';
import { renderTraceSummary } from '../trace/summary/summary-report.js';
import { summariseTrace } from '../trace/summary/trace-summary.js';

/** Resolves with the exit code. */
export async function run({ file, json, top }: TraceSummaryOptions): Promise<number> {
  const summary = await summariseTrace(file, top);
  process.stdout.write(json ? `${JSON.stringify(summary)}\n` : renderTraceSummary(summary));
  return 0;
}
