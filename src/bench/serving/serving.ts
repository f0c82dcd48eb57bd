// The bench-serving program: find the server, build the workload, warm up, send, measure, report.
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { appendJsonl, prepareJsonl } from '../append-jsonl.js';
import type { BenchRequest, Workload } from '../datasets/bench-request.js';
import { loadWorkload } from '../datasets/load-workload.js';
import { flagFacts } from '../html-report/about.js';
import { type ReportedRun, servingReport } from '../html-report/serving-report.js';
import { prepareReport, writeReport } from '../html-report/write-report.js';
import { HttpClient } from '../http/http-client.js';
import type { Output } from '../output.js';
import type { ResultRow } from '../results/figures.js';
import { sum } from '../statistics.js';
import { selectBackend } from './backends/select-backend.js';
import { withBusyNotice } from './busy-notice.js';
import { checkOptions, idleProfileFlags } from './check-options.js';
import type { RunRecords } from './load/request-record.js';
import { RequestSender } from './load/send-request.js';
import { measureRun } from './measure-run.js';
import { parseObjectives } from './metrics/goodput.js';
import { countTokens, type MeasuredRun } from './metrics/measured-run.js';
import { computeFigures } from './metrics/run-figures.js';
import { renderFailures, renderRun } from './results/console-report.js';
import { formatArguments } from './results/python-repr.js';
import { automaticFileName, resultRow } from './results/result-row.js';
import { renderRunSummary } from './results/run-summary.js';
import { renderThroughputPlot } from './results/throughput-plot.js';
import { ServingProfiler } from './serving-profiler.js';
import { httpTarget, TargetServer } from './target.js';

const WARMUP_OUTPUT_LEN = 32;
/** SGLang's pause between warm-up and run. */
const SETTLE_MS = 1000;
const WARM_CACHE =
  'Runs after the first find their prompts in the server’s prefix cache, where it has one: --flush-cache empties it before each';

export interface ServingDeps {
  readonly output: Output;
  /** The user wants to stop: what has been measured is reported and saved. */
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface ServingResult {
  /** One for each run that was begun; at least one. */
  readonly rows: readonly ResultRow[];
  /** Requests of all runs. */
  readonly failed: number;
}

/**
 * Runs the benchmark, prints a report and appends a row to the result file for each run.
 * Errors: INVALID_OPTION, NOT_READY, UNAUTHORIZED, BENCH_FAILED (no request could be made at all). Failed requests are no
 * error here: they are counted in the result.
 */
export async function benchServing(options: BenchServingOptions, deps: ServingDeps): Promise<ServingResult> {
  checkOptions(options);
  const { output } = deps;
  const file = options.outputFile ?? automaticFileName(options, new Date());
  await prepareJsonl(file, '--output-file');
  if (options.report !== undefined) await prepareReport(options.report, [file]);
  output.print(`benchmark_args=${formatArguments(BENCH_SERVING_OPTIONS, withoutSecrets(options))}`);
  for (const flag of idleProfileFlags(options)) output.warn(`${flag} has no effect`);
  const target = httpTarget(options, deps.environment);
  const client = new HttpClient(target);
  const profiler = ServingProfiler.create(options, target, deps);
  try {
    const server = new TargetServer(client, options, target.baseUrl);
    const model = server.modelName(await server.waitUntilReady(output, deps.interrupt));
    const directory = await server.tokenizerDirectory(model);
    const tokenizer = await Tokenizer.load(directory);
    const workload = await busy('Building the workload', options, () => loadWorkload(options, tokenizer, directory));
    announce(workload, options, output);
    const settings = {
      model: options.servedModelName ?? model,
      stream: !options.disableStream,
      ignoreEos: !options.disableIgnoreEos,
      returnLogprob: options.returnLogprob,
      extraBody: options.extraRequestBody,
    };
    const sender = new RequestSender(client, selectBackend(options.backend), settings, deps.interrupt);
    await warmUp(sender, workload.requests[0]!, options, deps);
    if (options.numRuns > 1 && !options.flushCache) output.warn(WARM_CACHE);
    const rows: ResultRow[] = [];
    const reported: ReportedRun[] = [];
    let failed = 0;
    for (let runNumber = 1; runNumber <= options.numRuns; runNumber++) {
      if (options.flushCache) await server.flushCache(output);
      if (options.warmupRequests > 0) await sleep(SETTLE_MS, undefined, { signal: deps.interrupt }).catch(() => {});
      if (deps.interrupt.aborted && rows.length > 0) break;
      if (options.numRuns > 1) output.print(`Run ${runNumber} of ${options.numRuns}`);
      await profiler?.start();
      let run: RunRecords;
      try {
        if (deps.interrupt.aborted) throw new VitrineError('ABORTED', 'Interrupted before anything was measured');
        run = await measureRun(sender, workload, options, { ...deps, runNumber });
      } finally {
        await profiler?.stop();
      }
      const serverInfo = await server.serverInfo();
      const finished = await finish(options, deps, { run, runNumber, workload, tokenizer, serverInfo, file });
      rows.push(finished.row);
      if (options.report !== undefined) reported.push({ label: `run ${runNumber}`, ...finished });
      failed += finished.failed;
      if (deps.interrupt.aborted) break;
    }
    if (options.numRuns > 1) for (const line of renderRunSummary(rows)) output.print(line);
    if (options.report !== undefined) {
      const about = [flagFacts(BENCH_SERVING_OPTIONS, options)];
      await writeReport(options.report, servingReport(`bench-serving: ${settings.model}`, reported, about));
      output.print(`Report: ${options.report}`);
    }
    return { rows, failed };
  } finally {
    client.close();
    profiler?.close();
  }
}

/** Shows nothing where the progress bar is off. */
function busy<T>(what: string, { disableTqdm }: BenchServingOptions, work: () => Promise<T>): Promise<T> {
  return disableTqdm ? work() : withBusyNotice(what, process.stderr, work);
}

/** Headers may carry keys: their names are enough. */
function withoutSecrets(options: BenchServingOptions): BenchServingOptions {
  return { ...options, header: options.header?.map((text) => text.replace(/=.*/s, '=…')) };
}

function announce({ requests, skipped }: Workload, options: BenchServingOptions, output: Output): void {
  for (const [reason, count] of Object.entries(skipped)) output.warn(`Left out ${count} dataset rows: ${reason}`);
  if (requests.length < options.numPrompts) {
    output.warn(`The dataset gives ${requests.length} of the ${options.numPrompts} requests asked for`);
  }
  output.print(`#Input tokens: ${sum(requests.map((request) => request.promptLen))}`);
  output.print(`#Output tokens: ${sum(requests.map((request) => request.outputLen))}`);
}

async function warmUp(
  sender: RequestSender,
  first: BenchRequest,
  { warmupRequests: count }: BenchServingOptions,
  { output }: ServingDeps,
): Promise<void> {
  if (count === 0) return;
  output.print(`Starting warmup with ${count} sequences...`);
  const request = { ...first, outputLen: Math.min(first.outputLen, WARMUP_OUTPUT_LEN) };
  const records = await Promise.all(Array.from({ length: count }, () => sender.send(request, 0, 0)));
  const failure = records.find((record) => record.error !== '' && !record.interrupted);
  if (failure !== undefined) {
    throw new VitrineError(
      'BENCH_FAILED',
      `Warmup failed - Please make sure benchmark arguments are correctly specified. Error: ${failure.error}`,
    );
  }
  output.print(`Warmup completed with ${count} sequences. Starting main benchmark run...`);
}

interface Finished {
  readonly run: RunRecords;
  readonly runNumber: number;
  readonly workload: Workload;
  readonly tokenizer: Tokenizer;
  readonly serverInfo: unknown;
  /** Result file. */
  readonly file: string;
}

/** The row is in the file when this resolves: what comes later cannot lose it. */
async function finish(
  options: BenchServingOptions,
  { output, interrupt }: ServingDeps,
  { run, runNumber, tokenizer, serverInfo, workload, file }: Finished,
): Promise<{ readonly row: ResultRow; readonly run: MeasuredRun; readonly failed: number }> {
  const acceptLength = options.backend.startsWith('sglang') ? readAcceptLength(serverInfo) : undefined;
  const { countsTokens } = selectBackend(options.backend);
  const measured = await busy('Counting tokens', options, () =>
    countTokens(run, tokenizer, acceptLength, countsTokens),
  );
  const figures = computeFigures(measured, {
    objectives: options.goodput && parseObjectives(options.goodput),
    steadyState: options.steadyState,
  });
  for (const line of renderRun(options, figures)) output.print(line);
  if (options.plotThroughput) for (const line of renderThroughputPlot(measured)) output.print(line);
  for (const line of renderFailures(run.records)) output.warn(line);
  const { completed, failed } = figures.metrics;
  if (interrupt.aborted) {
    output.warn(`Interrupted: the figures are those of ${completed} of ${workload.requests.length} requests`);
  }
  const row = resultRow({ ...figures, options, workload, runNumber, serverInfo });
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
