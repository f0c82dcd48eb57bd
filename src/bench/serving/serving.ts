// The bench-serving program: find the server, build the workload, warm up, send, measure, report.
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { DATASET_OPTIONS } from '../../config/tables/dataset-options.js';
import { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { appendJsonl, prepareJsonl } from '../append-jsonl.js';
import { type BenchRequest, countTurns } from '../datasets/bench-request.js';
import { loadWorkload, requestedCount } from '../datasets/load-workload.js';
import { assignLora } from '../datasets/lora-names.js';
import { saveWorkload } from '../datasets/workload-file.js';
import { flagFacts } from '../html-report/about.js';
import { type ReportedRun, servingReport } from '../html-report/serving-report.js';
import { writeReport } from '../html-report/write-report.js';
import { HttpClient } from '../http/http-client.js';
import type { Output } from '../output.js';
import type { ResultRow } from '../results/figures.js';
import { sum } from '../statistics.js';
import { openFilesWarning } from './backends/open-files.js';
import { payloadSettings } from './backends/payload-settings.js';
import { selectBackend } from './backends/select-backend.js';
import { withBusyNotice } from './busy-notice.js';
import { checkWorkload } from './check-dataset.js';
import { checkOptions, idleProfileFlags } from './check-options.js';
import { type ScheduledWorkload, scheduleWorkload } from './load/arrivals.js';
import type { RunRecords } from './load/request-record.js';
import { RequestSender } from './load/send-request.js';
import { measureRun } from './measure-run.js';
import { parseObjectives } from './metrics/goodput.js';
import { countTokens, type MeasuredRun } from './metrics/measured-run.js';
import { computeFigures } from './metrics/run-figures.js';
import { renderCacheReport } from './results/cache-report.js';
import { formatRate, renderFailures, renderRun } from './results/console-report.js';
import { formatArguments } from './results/python-repr.js';
import { automaticFileName, resultRow } from './results/result-row.js';
import { renderRunSummary } from './results/run-summary.js';
import { renderThroughputPlot } from './results/throughput-plot.js';
import { ServingProfiler } from './serving-profiler.js';
import { httpTarget, TargetServer } from './target.js';

const WARMUP_OUTPUT_LEN = 32;
/** From here on a client that cannot keep up is worth a word. */
const LATE_SECONDS = 0.02;
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
  if (options.report !== undefined) await prepareJsonl(options.report, '--report');
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
    const workload = await busy('Building the workload', options, () => prepareWorkload(options, tokenizer, directory));
    throwIfInterrupted(deps, 'before anything was sent');
    announce(workload, options, output);
    const tooFewFiles = await openFilesWarning(options, workload.requests.length);
    if (tooFewFiles !== undefined) output.warn(tooFewFiles);
    const settings = {
      payload: payloadSettings(options, options.servedModelName ?? model),
      timeoutSeconds: options.requestTimeoutSec,
    };
    const sender = new RequestSender(client, selectBackend(options.backend), settings, deps.interrupt);
    await warmUp(sender, workload.requests[0]!, options, deps);
    if (options.numRuns > 1 && !options.flushCache) output.warn(WARM_CACHE);
    const rows: ResultRow[] = [];
    const reported: ReportedRun[] = [];
    let failed = 0;
    for (let runNumber = 1; runNumber <= options.numRuns; runNumber++) {
      if (options.flushCache) await server.flushCache(output, deps.interrupt);
      if (options.warmupRequests > 0) await sleep(SETTLE_MS, undefined, { signal: deps.interrupt }).catch(() => {});
      if (deps.interrupt.aborted && rows.length > 0) break;
      if (options.numRuns > 1) output.print(`Run ${runNumber} of ${options.numRuns}`);
      await profiler?.start();
      let run: RunRecords;
      try {
        throwIfInterrupted(deps, 'before anything was measured');
        const tokensOf = async (text: string) => (await tokenizer.encode(text, false)).length;
        run = await measureRun(sender, workload, options, { ...deps, runNumber, countTokens: tokensOf });
      } finally {
        await profiler?.stop();
      }
      const serverInfo = await server.serverInfo(deps.interrupt);
      // Idle connections may be all the files that this process may open, and the result file is one more.
      client.close();
      const finished = await finish(options, deps, { run, runNumber, workload, tokenizer, serverInfo, file });
      rows.push(finished.row);
      if (options.report !== undefined) reported.push({ label: `run ${runNumber}`, ...finished });
      failed += finished.failed;
      if (deps.interrupt.aborted) break;
    }
    if (options.numRuns > 1) for (const line of renderRunSummary(rows)) output.print(line);
    if (options.report !== undefined) {
      const about = [flagFacts(BENCH_SERVING_OPTIONS, options)];
      await writeReport(options.report, servingReport(`bench-serving: ${settings.payload.model}`, reported, about));
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

/** What the requests of a saved workload and their times depend on: flag → value. */
function workloadFlags(options: BenchServingOptions): Record<string, unknown> {
  return {
    ...Object.fromEntries(DATASET_OPTIONS.map(({ flag, key }) => [flag, options[key]])),
    'request-rate': formatRate(options.requestRate),
    'use-trace-timestamps': options.useTraceTimestamps,
    'lora-name': options.loraName,
    'lora-request-distribution': options.loraRequestDistribution,
    'lora-zipf-alpha': options.loraZipfAlpha,
  };
}

function throwIfInterrupted({ interrupt }: ServingDeps, when: string): void {
  if (interrupt.aborted) throw new VitrineError('ABORTED', `Interrupted ${when}: there is nothing to report`);
}

/** Headers may carry keys: their names are enough. */
function withoutSecrets(options: BenchServingOptions): BenchServingOptions {
  return { ...options, header: options.header?.map((text) => text.replace(/=.*/s, '=…')) };
}

/** The requests of the run and their times; written to a file where the user wants to keep them. */
async function prepareWorkload(
  options: BenchServingOptions,
  tokenizer: Tokenizer,
  directory: string,
): Promise<ScheduledWorkload> {
  const loaded = await loadWorkload(options, tokenizer, directory);
  const { loraName: names = [], loraRequestDistribution: distribution, loraZipfAlpha: zipfAlpha, seed } = options;
  const requests = assignLora(loaded.requests, { names, distribution, zipfAlpha, seed });
  const workload = scheduleWorkload({ ...loaded, requests }, options);
  checkWorkload(workload, options);
  if (options.saveWorkload !== undefined) {
    await saveWorkload(options.saveWorkload, workload, workload.arrivals, workloadFlags(options));
  }
  return workload;
}

function announce(workload: ScheduledWorkload, options: BenchServingOptions, output: Output): void {
  const { requests, skipped, notes = [] } = workload;
  const turns = requests.flatMap((request) => request.followUps ?? []);
  for (const [reason, count] of Object.entries(skipped)) output.warn(`Left out ${count} dataset rows: ${reason}`);
  const wanted = requestedCount(options) ?? requests.length;
  if (requests.length < wanted) {
    output.warn(`The dataset gives ${requests.length} of the ${wanted} requests asked for`);
  }
  for (const note of notes) output.print(note);
  const inputs = [...requests.map((request) => request.promptLen), ...turns.map((turn) => turn.tokens)];
  output.print(`#Input tokens: ${sum(inputs)}`);
  output.print(`#Output tokens: ${sum([...requests, ...turns].map((turn) => turn.outputLen))}`);
}

async function warmUp(
  sender: RequestSender,
  first: BenchRequest,
  { warmupRequests: count }: BenchServingOptions,
  deps: ServingDeps,
): Promise<void> {
  if (count === 0) return;
  const { output } = deps;
  output.print(`Starting warmup with ${count} sequences...`);
  const request = { ...first, outputLen: Math.min(first.outputLen, WARMUP_OUTPUT_LEN) };
  const records = await Promise.all(Array.from({ length: count }, () => sender.send(request, 0, 0)));
  throwIfInterrupted(deps, 'in the warm-up');
  const failure = records.find((record) => record.error !== '');
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
  readonly workload: ScheduledWorkload;
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
  for (const line of renderRun(options, workload.rate, figures)) output.print(line);
  if (options.cacheReport) for (const line of renderCacheReport(run.records)) output.print(line);
  if (options.plotThroughput) for (const line of renderThroughputPlot(measured)) output.print(line);
  for (const line of renderFailures(run.records)) output.warn(line);
  const { completed, failed, queue } = figures.metrics;
  const late = queue.percentile(99);
  // With a limit the wait is the limit's, and requests that all come at once wait for each other.
  if (!options.maxConcurrency && workload.arrivals.at(-1)! > 0 && late > LATE_SECONDS) {
    output.warn(`The client sent requests late (p99 ${(late * 1000).toFixed(1)} ms): it lacks processor time`);
  }
  if (interrupt.aborted) {
    output.warn(`Interrupted: the figures are those of ${completed} of ${countTurns(workload.requests)} requests`);
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
