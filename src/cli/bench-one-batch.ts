// `vitrine bench-one-batch`: the time of static batches, without a server. Ctrl-C ends it and saves what was measured.
import { benchOneBatch } from '../bench/one-batch/one-batch.js';
import { terminalOutput } from '../bench/terminal/output.js';
import type { OneBatchOptions } from '../config/tables/one-batch-options.js';
import { loadAddon } from '../native/load.js';
import { createLog } from '../util/log.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 130 when interrupted. */
export function run(options: OneBatchOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const log = createLog(options.logLevel, 'bench-one-batch');
    const deps = { addon: loadAddon(), output: terminalOutput, log, interrupt, environment: process.env };
    await benchOneBatch(options, deps);
    return 0;
  });
}
