// After a run: its figures computed, printed and saved.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { countTurns } from '../datasets/bench-request.js';
import { appendJsonl } from '../results/append-jsonl.js';
import { countFailures, renderFailures } from '../results/failures.js';
import type { ResultRow } from '../results/figures.js';
import { type PhaseWork, renderPhaseWork } from '../roofline/phase-work.js';
import { withBusyNotice } from '../terminal/busy-notice.js';
import type { Output } from '../terminal/output.js';
import { selectBackend } from './backends/select-backend.js';
import type { ScheduledWorkload } from './load/arrivals.js';
import { isFailure, type RunRecords } from './load/request-record.js';
import { parseObjectives } from './metrics/goodput.js';
import { countTokens, type MeasuredRun } from './metrics/measured-run.js';
import { computeFigures } from './metrics/run-figures.js';
import { renderCacheReport } from './results/cache-report.js';
import { renderRun } from './results/console-report.js';
import { resultRow } from './results/result-row.js';
import { renderThroughputPlot } from './results/throughput-plot.js';

/** From here on a client that cannot keep up is worth a word. */
const LATE_SECONDS = 0.02;

export interface FinishedRun {
  readonly run: RunRecords;
  readonly runNumber: number;
  readonly workload: ScheduledWorkload;
  readonly tokenizer: Tokenizer;
  readonly serverInfo: unknown;
  /** With --roofline, where the server counts it. */
  readonly work: PhaseWork | undefined;
  /** Result file. */
  readonly file: string;
}

export interface ConcludedRun {
  readonly row: ResultRow;
  readonly run: MeasuredRun;
  /** Requests. */
  readonly failed: number;
}

export interface ConcludeDeps {
  readonly output: Output;
  readonly interrupt: AbortSignal;
}

/** The row is in the file when this resolves: what comes later cannot lose it. */
export async function concludeRun(
  options: BenchServingOptions,
  { output, interrupt }: ConcludeDeps,
  { run, runNumber, tokenizer, serverInfo, work, workload, file }: FinishedRun,
): Promise<ConcludedRun> {
  const acceptLength = options.backend.startsWith('sglang') ? readAcceptLength(serverInfo) : undefined;
  const { countsTokens } = selectBackend(options.backend);
  const measured = await withBusyNotice('Counting tokens', options.disableTqdm ? undefined : process.stderr, () =>
    countTokens(run, tokenizer, acceptLength, countsTokens),
  );
  const figures = computeFigures(measured, {
    objectives: options.goodput && parseObjectives(options.goodput),
    steadyState: options.steadyState,
  });
  const failures = countFailures(run.records.filter(isFailure).map(({ error }) => error));
  for (const line of renderRun(options, workload.rate, figures)) output.print(line);
  if (options.cacheReport) for (const line of renderCacheReport(run.records)) output.print(line);
  if (options.plotThroughput) for (const line of renderThroughputPlot(measured)) output.print(line);
  if (work !== undefined) for (const line of renderPhaseWork(work)) output.print(line);
  for (const line of renderFailures(failures, run.records.length)) output.warn(line);
  const { completed, failed, queue } = figures.metrics;
  const late = queue.percentile(99);
  // With a limit the wait is the limit's, and requests that all come at once wait for each other.
  if (!options.maxConcurrency && workload.arrivals.at(-1)! > 0 && late > LATE_SECONDS) {
    output.warn(`The client sent requests late (p99 ${(late * 1000).toFixed(1)} ms): it lacks processor time`);
  }
  if (interrupt.aborted) {
    output.warn(`Interrupted: the figures are those of ${completed} of ${countTurns(workload.requests)} requests`);
  }
  const row = resultRow({ ...figures, options, workload, runNumber, serverInfo, work });
  await appendJsonl(file, [row], '--output-file');
  return { row, run: measured, failed };
}

function readAcceptLength(serverInfo: unknown): number | undefined {
  interface Info {
    readonly internal_states?: readonly { readonly avg_spec_accept_length?: unknown }[];
    readonly decode?: readonly Info[];
  }
  const info = serverInfo as Info | null;
  const length = (info?.decode?.[0] ?? info)?.internal_states?.[0]?.avg_spec_accept_length;
  return typeof length === 'number' ? length : undefined;
}
