// One pass over a workload: every request sent when it is due, every answer recorded.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { countTurns } from '../datasets/bench-request.js';
import type { Output } from '../terminal/output.js';
import type { ScheduledWorkload } from './load/arrivals.js';
import { converse } from './load/conversation.js';
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
  /** Tokens of a text, for conversations with servers that do not count them. */
  readonly countTokens: (text: string) => Promise<number>;
}

export async function measureRun(
  sender: RequestSender,
  { requests, arrivals }: ScheduledWorkload,
  options: BenchServingOptions,
  { output, interrupt, runNumber, countTokens }: RunDeps,
): Promise<RunRecords> {
  const progress = new Progress({
    total: countTurns(requests),
    label: options.numRuns > 1 ? `Run ${runNumber}/${options.numRuns} ` : '',
    stream: process.stderr,
    isDisabled: options.disableTqdm,
  });
  const log = options.printRequests ? (line: string) => output.print(line) : undefined;
  const records: RequestRecord[] = [];
  let lastEnd = 0;
  const onRecord = (record: RequestRecord): void => {
    log?.(describeEnd(record));
    records.push(record);
    lastEnd = Math.max(lastEnd, record.endedAt);
    progress.add(record);
  };
  const startedAt = Date.now();
  const start = await generateLoad({
    arrivals,
    maxConcurrency: options.maxConcurrency || Number.POSITIVE_INFINITY,
    signal: interrupt,
    send: (index, arrivedAt) =>
      converse(requests[index]!, arrivedAt, {
        send: (request, turn, due) => {
          log?.(`request ${nameOf(index, turn)} start: ${request.promptLen} prompt tokens`);
          return sender.send(request, index, due, turn);
        },
        onRecord,
        countTokens,
        signal: interrupt,
      }),
  });
  progress.stop();
  records.sort((a, b) => a.index - b.index || a.turn - b.turn);
  return { records, start, startedAt, duration: Math.max(0, lastEnd - start) };
}

function describeEnd({ index, turn, sentAt, endedAt, error, text }: RequestRecord): string {
  const outcome = error === '' ? JSON.stringify(text) : error;
  return `request ${nameOf(index, turn)} end: ${(endedAt - sentAt).toFixed(3)} s, ${outcome}`;
}

const nameOf = (index: number, turn: number): string => (turn === 0 ? String(index) : `${index} turn ${turn}`);
