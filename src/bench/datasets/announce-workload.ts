// What a user is told of a workload before it is sent.
import type { DatasetOptions } from '../../config/tables/dataset-options.js';
import { sum } from '../statistics/statistics.js';
import type { Output } from '../terminal/output.js';
import type { Workload } from './bench-request.js';
import { requestedCount } from './load-workload.js';

/** What was left out and what is missing as warnings; notes and SGLang's two lines of token counts. */
export function announceWorkload(workload: Workload, options: DatasetOptions, output: Output): void {
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
