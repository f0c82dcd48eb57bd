// `vitrine send-one`: one request to a running server.

import { sendOne } from '../bench/send-one/send-one.js';
import { terminalOutput } from '../bench/terminal/output.js';
import { streamNotice } from '../bench/terminal/wait-notice.js';
import type { SendOneOptions } from '../config/tables/send-one-options.js';
import { untilInterrupted } from './until-interrupted.js';

/** 0; 130 when interrupted. */
export function run(options: SendOneOptions): Promise<number> {
  return untilInterrupted(async (interrupt) => {
    const write = (text: string) => void process.stdout.write(text);
    const notice = streamNotice(process.stderr);
    await sendOne(options, { output: terminalOutput, write, notice, interrupt, environment: process.env });
    return 0;
  });
}
