// Waits until every rank has written its trace file. Files appear whole, by renaming, so a file that is there is done.
import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;

export interface WaitForTracesOptions {
  /** The files expected; see traceFileName(). */
  readonly paths: readonly string[];
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal;
}

export interface WaitForTracesResult {
  readonly present: readonly string[];
  /** Not there when the time was up. */
  readonly missing: readonly string[];
}

/** Polling, not watching: the files may be on a network file system. Ends early when `signal` fires. */
export async function waitForTraceFiles({
  paths,
  timeoutSeconds,
  signal,
}: WaitForTracesOptions): Promise<WaitForTracesResult> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  let missing = [...paths];
  for (;;) {
    const found = await Promise.all(
      missing.map((path) =>
        access(path).then(
          () => true,
          () => false,
        ),
      ),
    );
    missing = missing.filter((_, index) => !found[index]);
    const left = deadline - performance.now();
    if (missing.length === 0 || left <= 0 || signal?.aborted) break;
    await sleep(Math.min(POLL_MS, left), undefined, signal ? { signal } : {}).catch(() => {});
  }
  return { present: paths.filter((path) => !missing.includes(path)), missing };
}
