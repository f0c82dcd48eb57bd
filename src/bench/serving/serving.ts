// The bench-serving program: find the server, build the workload, warm up, send, measure, report.
import { setTimeout as sleep } from 'node:timers/promises';
import { BENCH_SERVING_OPTIONS, type BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import { announceWorkload } from '../datasets/announce-workload.js';
import { flagFacts } from '../html-report/about.js';
import { servingReport } from '../html-report/serving-report.js';
import { prepareReport, writeReport } from '../html-report/write-report.js';
import { HttpClient } from '../http/http-client.js';
import { prepareJsonl } from '../results/append-jsonl.js';
import type { ResultRow } from '../results/figures.js';
import { hideSecrets } from '../results/secrets.js';
import type { LimitsAddon } from '../roofline/machine-limits.js';
import { sum } from '../statistics/statistics.js';
import { withBusyNotice } from '../terminal/busy-notice.js';
import type { Output } from '../terminal/output.js';
import { openFilesWarning } from './backends/open-files.js';
import { payloadSettings } from './backends/payload-settings.js';
import { selectBackend } from './backends/select-backend.js';
import { checkOptions, idleProfileFlags } from './check-options.js';
import { type ConcludedRun, concludeRun } from './conclude-run.js';
import type { ScheduledWorkload } from './load/arrivals.js';
import { RequestSender } from './load/send-request.js';
import { measureRun } from './measure-run.js';
import { prepareWorkload } from './prepare-workload.js';
import { formatArguments } from './results/python-repr.js';
import { automaticFileName } from './results/result-row.js';
import { renderRunSummary } from './results/run-summary.js';
import { ServingProfiler } from './serving-profiler.js';
import { httpTarget, TargetServer } from './target.js';
import { warmUp } from './warm-up.js';
import { WorkMeter } from './work-meter.js';

/** SGLang's pause between warm-up and run. */
const SETTLE_MS = 1000;
const WARM_CACHE =
  'Runs after the first find their prompts in the server’s prefix cache, where it has one: --flush-cache empties it before each';

export interface ServingDeps {
  readonly output: Output;
  /** The user wants to stop: what has been measured is reported and saved. */
  readonly interrupt: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** For --roofline, which measures this machine. */
  readonly addon: () => LimitsAddon;
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
  output.print(`benchmark_args=${formatArguments(BENCH_SERVING_OPTIONS, hideSecrets(BENCH_SERVING_OPTIONS, options))}`);
  for (const flag of idleProfileFlags(options)) output.warn(`${flag} has no effect`);
  const target = httpTarget(options, deps.environment);
  const client = new HttpClient(target);
  const profiler = ServingProfiler.create(options, target, deps);
  try {
    const bench = await prepare(options, deps, client, file);
    await warmUp(bench.sender, bench.workload.requests[0]!, options.warmupRequests, output);
    throwIfInterrupted(deps, 'in the warm-up');
    const runs = await runAll(bench, options, deps, profiler);
    const rows = runs.map((run) => run.row);
    if (options.numRuns > 1) for (const line of renderRunSummary(rows)) output.print(line);
    if (options.report !== undefined) {
      const reported = runs.map(({ row, run }, i) => ({ label: `run ${i + 1}`, row, run }));
      const about = [flagFacts(BENCH_SERVING_OPTIONS, options)];
      await writeReport(options.report, servingReport(`bench-serving: ${bench.modelName}`, reported, about));
      output.print(`Report: ${options.report}`);
    }
    return { rows, failed: sum(runs.map((run) => run.failed)) };
  } finally {
    client.close();
    profiler?.close();
  }
}

/** What every run needs. */
interface Bench {
  readonly client: HttpClient;
  readonly server: TargetServer;
  readonly sender: RequestSender;
  /** In the payload. */
  readonly modelName: string;
  readonly tokenizer: Tokenizer;
  readonly workload: ScheduledWorkload;
  /** Result file. */
  readonly file: string;
  readonly meter: WorkMeter | undefined;
}

async function prepare(
  options: BenchServingOptions,
  deps: ServingDeps,
  client: HttpClient,
  file: string,
): Promise<Bench> {
  const { output, interrupt } = deps;
  const server = new TargetServer(client, options);
  const model = server.modelName(await server.waitUntilReady(output, interrupt));
  const directory = await server.tokenizerDirectory(model);
  const tokenizer = await server.loadTokenizer(directory);
  const terminal = options.disableTqdm ? undefined : process.stderr;
  const build = () => prepareWorkload(options, tokenizer, directory, interrupt);
  const workload = await withBusyNotice('Building the workload', terminal, build);
  throwIfInterrupted(deps, 'before anything was sent');
  announceWorkload(workload, options, output);
  const tooFewFiles = await openFilesWarning(options, workload.requests.length);
  if (tooFewFiles !== undefined) output.warn(tooFewFiles);
  const modelName = options.servedModelName ?? model;
  const settings = { payload: payloadSettings(options, modelName), timeoutSeconds: options.requestTimeoutSec };
  const sender = new RequestSender(client, selectBackend(options.backend), settings, interrupt);
  const meter = options.roofline ? await WorkMeter.create(server, options, deps) : undefined;
  return { client, server, sender, modelName, tokenizer, workload, file, meter };
}

/** --num-runs passes over the workload, or those until the interrupt; the first is always there. */
async function runAll(
  bench: Bench,
  options: BenchServingOptions,
  deps: ServingDeps,
  profiler: ServingProfiler | undefined,
): Promise<ConcludedRun[]> {
  const { output, interrupt } = deps;
  if (options.numRuns > 1 && !options.flushCache) output.warn(WARM_CACHE);
  const runs: ConcludedRun[] = [];
  for (let runNumber = 1; runNumber <= options.numRuns; runNumber++) {
    if (options.flushCache) await bench.server.flushCache(output, interrupt);
    if (options.warmupRequests > 0) await sleep(SETTLE_MS, undefined, { signal: interrupt }).catch(() => {});
    if (interrupt.aborted && runs.length > 0) break;
    throwIfInterrupted(deps, 'before anything was measured');
    if (options.numRuns > 1) output.print(`Run ${runNumber} of ${options.numRuns}`);
    await bench.meter?.start(interrupt);
    const run = await profiled(profiler, () => {
      throwIfInterrupted(deps, 'before anything was measured');
      const countTokens = async (text: string) => (await bench.tokenizer.encode(text, false)).length;
      return measureRun(bench.sender, bench.workload, options, { ...deps, runNumber, countTokens });
    });
    const serverInfo = await bench.server.serverInfo(interrupt);
    // Idle connections may be all the files that this process may open, and the result file is one more.
    bench.client.close();
    runs.push(
      await concludeRun(options, deps, { ...bench, run, runNumber, serverInfo, work: bench.meter?.stop(serverInfo) }),
    );
    if (interrupt.aborted) break;
  }
  return runs;
}

async function profiled<T>(profiler: ServingProfiler | undefined, measure: () => Promise<T>): Promise<T> {
  await profiler?.start();
  try {
    return await measure();
  } finally {
    await profiler?.stop();
  }
}

function throwIfInterrupted({ interrupt }: ServingDeps, when: string): void {
  if (interrupt.aborted) throw new VitrineError('ABORTED', `Interrupted ${when}: there is nothing to report`);
}
