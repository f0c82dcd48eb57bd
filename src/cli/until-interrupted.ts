// Ctrl-C for commands that can end in order: the first one asks, a second one means it.
import { VitrineError } from '../util/errors.js';

/** The exit code of `work`; 130 where it was interrupted, after a line that says what it left behind. */
export async function untilInterrupted(work: (interrupt: AbortSignal) => Promise<number>): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => {
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const code = await work(interrupt.signal);
    return interrupt.signal.aborted ? 130 : code;
  } catch (thrown) {
    if (!(thrown instanceof VitrineError) || thrown.code !== 'ABORTED') throw thrown;
    process.stderr.write(`${thrown.message}\n`);
    return 130;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
