// `vitrine bench-one-batch`: the time of static batches, without a server.
import { benchOneBatch } from '../bench/one-batch/one-batch.js';
import { terminalOutput } from '../bench/output.js';
import type { OneBatchOptions } from '../config/tables/one-batch-options.js';
import { loadAddon } from '../native/load.js';
import { createLog } from '../util/log.js';

export async function run(options: OneBatchOptions): Promise<number> {
  const log = createLog(options.logLevel, 'bench-one-batch');
  await benchOneBatch(options, { addon: loadAddon(), output: terminalOutput, log, environment: process.env });
  return 0;
}
