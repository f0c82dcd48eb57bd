// Waits for the trace files of a server that does not report: looks into the directory until enough of them are whole.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { scanTraceFile } from '../../trace/read/read-trace.js';
import { TraceDamage, TraceScanner } from '../../trace/read/trace-scanner.js';
import { TRACE_SUFFIX } from '../../trace/trace-file-name.js';
import { monotonicSeconds } from '../../util/clock.js';
import { VitrineError } from '../../util/errors.js';
import { howToEnd, type Patience } from './wait-for-profile.js';

const POLL_MS = 200;

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
  readonly events: number;
}

export interface ExpectedFiles {
  /** On this machine; the server must write to the same file system. */
  readonly directory: string;
  readonly count: number;
  readonly baseUrl: string;
}

/** Rejects with ABORTED (`signal`) and BENCH_FAILED (timeout). */
export async function waitForFiles(expected: ExpectedFiles, patience: Patience): Promise<FoundFile[]> {
  const { directory, count } = expected;
  const { signal, timeoutSeconds, notice } = patience;
  const deadline = monotonicSeconds() + timeoutSeconds;
  const whole = new Map<string, FoundFile>();
  const sizes = new Map<string, number>();
  try {
    for (;;) {
      const names = (await readdir(directory)).filter((name) => name.endsWith(TRACE_SUFFIX)).sort();
      for (const path of names.map((name) => join(directory, name))) {
        if (whole.has(path)) continue;
        const { size: bytes } = await stat(path);
        // PyTorch compresses into the final name: only a file that has stopped growing is worth reading.
        const events = sizes.get(path) === bytes && bytes > 0 ? await countEvents(path, signal) : undefined;
        sizes.set(path, bytes);
        if (events !== undefined) whole.set(path, { path, bytes, events });
      }
      if (whole.size >= count) return [...whole.values()];
      const state = `${whole.size} of ${count} trace files are in ${directory}`;
      const advice = `The server may still be recording: ${howToEnd(expected.baseUrl)}. Files of a server on another machine are there`;
      if (signal.aborted) throw new VitrineError('ABORTED', `Interrupted: ${state}. ${advice}.`);
      if (monotonicSeconds() >= deadline) {
        const waited = `Waited ${timeoutSeconds} s (--wait-timeout)`;
        throw new VitrineError('BENCH_FAILED', `${waited}: ${state}. ${advice}.`);
      }
      notice.update(`${state}; steps run while there are requests`);
      await sleep(POLL_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    notice.end();
  }
}

/** undefined where the file is not whole yet. */
async function countEvents(path: string, signal: AbortSignal): Promise<number | undefined> {
  let events = 0;
  const count = () => {
    events += 1;
  };
  try {
    await scanTraceFile(path, new TraceScanner({ event: count, member: () => {} }, []), signal);
    return events;
  } catch (error) {
    if (error instanceof TraceDamage || signal.aborted) return undefined;
    throw error;
  }
}
