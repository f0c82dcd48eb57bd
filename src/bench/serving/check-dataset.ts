// Flags of a workload, and requests, that make no sense together or with the backend, refused before anything is sent.
import type { BenchServingOptions } from '../../config/tables/bench-serving-options.js';
import { VitrineError } from '../../util/errors.js';
import { isTokenIds, type Workload } from '../datasets/bench-request.js';
import { checkDatasetOptions } from '../datasets/check-dataset-options.js';
import { checkPrompts } from './backends/check-backend.js';

const NEEDS_CHAT = 'needs a chat backend (one that ends in -chat)';

const isChat = ({ backend }: BenchServingOptions): boolean => backend.endsWith('-chat');

/** Of the flags of the workload. @throws VitrineError INVALID_OPTION */
export function checkDataset(options: BenchServingOptions): void {
  const { datasetName } = options;
  const isTimed = datasetName === 'mooncake' || datasetName === 'workload';
  checkDatasetOptions(options);
  if (options.useTraceTimestamps && !isTimed) {
    refuse('--use-trace-timestamps', 'needs the timestamps of --dataset-name mooncake or workload', datasetName);
  }
  checkLora(options);
  if (isChat(options)) return;
  const { backend } = options;
  if (datasetName === 'openai') refuse('--dataset-name openai', NEEDS_CHAT, backend);
  if (datasetName === 'generated-shared-prefix' && options.gspNumTurns > 1) {
    refuse('--gsp-num-turns', NEEDS_CHAT, backend);
  }
  if (datasetName === 'mooncake' && options.mooncakeNumRounds > 1) refuse('--mooncake-num-rounds', NEEDS_CHAT, backend);
}

function checkLora({ loraName: names = [], ...options }: BenchServingOptions): void {
  const { loraRequestDistribution: distribution, loraZipfAlpha: alpha } = options;
  if (distribution !== 'uniform' && names.length < 2) {
    const flag = '--lora-request-distribution';
    const message = `${flag} ${distribution} needs two names or more of --lora-name, got ${names.length}`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag });
  }
  if (!(alpha > 1)) {
    const message = `--lora-zipf-alpha: expected a number greater than 1, got ${alpha}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--lora-zipf-alpha' });
  }
}

/** What only the requests tell. @throws VitrineError INVALID_OPTION */
export function checkWorkload(workload: Workload, options: BenchServingOptions): void {
  checkPrompts(workload, options);
  for (const { prompt, followUps } of workload.requests) {
    if (followUps === undefined || !isTokenIds(prompt)) continue;
    refuse(`--dataset-name ${options.datasetName}`, 'has conversations, which begin with text', 'token ids');
  }
}

function refuse(flag: string, expected: string, got: string): never {
  throw new VitrineError('INVALID_OPTION', `${flag} ${expected}, not with ${got}`, { param: flag.split(' ')[0]! });
}
