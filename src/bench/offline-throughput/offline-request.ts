// The requests of a dataset as an engine without HTTP takes them.
import { VitrineError } from '../../util/errors.js';
import type { Prompt, Workload } from '../datasets/bench-request.js';
import type { Output } from '../terminal/output.js';

export interface OfflineRequest {
  /** Text, or token ids. */
  readonly prompt: string | readonly number[];
  /** Tokens, by the dataset. */
  readonly promptLen: number;
  readonly outputLen: number;
}

/** @throws VitrineError INVALID_OPTION for workloads that only a server can answer */
export function offlineRequests({ requests }: Workload, dataset: string, output: Output): readonly OfflineRequest[] {
  if (requests.some(({ timestamp }) => timestamp !== undefined)) {
    output.warn('The times of the dataset have no effect: all requests are given at once');
  }
  return requests.map(({ prompt, promptLen, outputLen, followUps = [], lora, body }) => {
    if (!isPlain(prompt) || followUps.length > 0) refuse(dataset, 'holds conversations');
    if (lora !== undefined || body !== undefined) refuse(dataset, 'holds requests with fields of their own');
    return { prompt, promptLen, outputLen };
  });
}

function isPlain(prompt: Prompt): prompt is OfflineRequest['prompt'] {
  return typeof prompt === 'string' || prompt.every((element) => typeof element === 'number');
}

function refuse(dataset: string, problem: string): never {
  const message = `--dataset-name ${dataset}: the workload ${problem}, which bench-serving can send to a server`;
  throw new VitrineError('INVALID_OPTION', message, { param: '--dataset-name' });
}
