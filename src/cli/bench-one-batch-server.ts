// `vitrine bench-one-batch-server`: batches as single requests. Ctrl-C ends it and reports what was measured.
import { benchOneBatchServer } from '../bench/one-batch-server/one-batch-server.js';
import { terminalOutput } from '../bench/terminal/output.js';
import { streamNotice } from '../bench/terminal/wait-notice.js';
import type { OneBatchServerOptions } from '../config/tables/one-batch-server-options.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 1 when a case failed; 130 when interrupted. */
export function run(options: OneBatchServerOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const notice = streamNotice(process.stderr);
    const deps = { output: terminalOutput, notice, interrupt, environment: process.env };
    const { failed } = await benchOneBatchServer(options, deps);
    return failed > 0 ? 1 : 0;
  });
}
