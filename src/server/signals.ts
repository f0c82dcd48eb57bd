// SIGTERM and SIGINT of the server process.
import type { Log } from '../util/log.js';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** The first signal calls `shutdown`, a second one ends the process at once. Returns a function that takes it back. */
export function onShutdownSignal(log: Log, shutdown: () => void): () => void {
  let signalled = false;
  const listener = (signal: (typeof SIGNALS)[number]) => {
    if (signalled) process.exit(signal === 'SIGINT' ? 130 : 143);
    signalled = true;
    log.info(`${signal}: shutting down`);
    shutdown();
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of SIGNALS) process.off(signal, listener);
  };
}
