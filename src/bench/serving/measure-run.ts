// One pass over a workload: every request sent when it is due, every answer recorded.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import type { Workload } from '../datasets/bench-request.js';
import type { Output } from '../output.js';
import { arrivalTimes } from './load/arrivals.js';
import { generateLoad } from './load/load-generator.js';
import type { RequestRecord, RunRecords } from './load/request-record.js';
import type { RequestSender } from './load/send-request.js';
import { Progress } from './progress.js';

export interface RunDeps {
  readonly output: Output;
  /** Ends the run early. */
  readonly interrupt: AbortSignal;
  /** From 1 to --num-runs. */
  readonly runNumber: number;
}

export async function measureRun(
  sender: RequestSender,
  { requests }: Workload,
  options: BenchServingOptions,
  { output, interrupt, runNumber }: RunDeps,
): Promise<RunRecords> {
  const progress = new Progress({
    total: requests.length,
    label: options.numRuns > 1 ? `Run ${runNumber}/${options.numRuns} ` : '',
    stream: process.stderr,
    isDisabled: options.disableTqdm,
  });
  const log = options.printRequests ? (line: string) => output.print(line) : undefined;
  const records: RequestRecord[] = [];
  let lastEnd = 0;
  const startedAt = Date.now();
  const start = await generateLoad({
    arrivals: arrivalTimes(requests.length, options.requestRate, options.seed),
    maxConcurrency: options.maxConcurrency || Number.POSITIVE_INFINITY,
    signal: interrupt,
    send: async (index, arrivedAt) => {
      log?.(`request ${index} start: ${requests[index]!.promptLen} prompt tokens`);
      const record = await sender.send(requests[index]!, index, arrivedAt);
      const seconds = (record.endedAt - record.sentAt).toFixed(3);
      log?.(`request ${index} end: ${seconds} s, ${record.error === '' ? JSON.stringify(record.text) : record.error}`);
      records.push(record);
      lastEnd = Math.max(lastEnd, record.endedAt);
      progress.add(record);
    },
  });
  progress.stop();
  records.sort((a, b) => a.index - b.index || a.turn - b.turn);
  return { records, start, startedAt, duration: Math.max(0, lastEnd - start) };
}
