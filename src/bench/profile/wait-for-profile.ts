// Waits for a profile of a server that reports: polls /profile_status until the files are complete.
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicSeconds } from '../../util/clock.js';
import { toError, VitrineError } from '../../util/errors.js';
import type { WaitNotice } from '../terminal/wait-notice.js';
import type { ProfileClient } from './profile-client.js';
import { describeProgress, isSettled, isUnderWay, type ProfileReport } from './profile-report.js';

const FIRST_POLL_MS = 50;
const LONGEST_POLL_MS = 500;
/** A server that is busy may miss a few polls; one that is gone misses all. */
const MOST_MISSED_POLLS = 5;

export interface Patience {
  /** The user wants to stop waiting. */
  readonly signal: AbortSignal;
  readonly timeoutSeconds: number;
  readonly notice: WaitNotice;
}

/**
 * The settled report, failed profiles included. Rejects with ABORTED (`signal`) and BENCH_FAILED (timeout), both of
 * which say how to end the profile, and with the errors of the client.
 */
export async function waitForProfile(
  client: ProfileClient,
  started: ProfileReport,
  { signal, timeoutSeconds, notice }: Patience,
): Promise<ProfileReport> {
  const deadline = monotonicSeconds() + timeoutSeconds;
  let report = started;
  let missed = 0;
  try {
    for (let pause = FIRST_POLL_MS; !isSettled(report); pause = Math.min(LONGEST_POLL_MS, pause * 1.5)) {
      if (signal.aborted) throw stillThere('ABORTED', 'Interrupted', client, report);
      if (monotonicSeconds() >= deadline) {
        throw stillThere('BENCH_FAILED', `Waited ${timeoutSeconds} s (--wait-timeout)`, client, report);
      }
      notice.update(`Profile ${report.profile_id}: ${describeProgress(report)}${hintOf(report)}`);
      await sleep(pause, undefined, { signal }).catch(() => {});
      try {
        report = await client.status(report.profile_id, signal);
        missed = 0;
      } catch (thrown) {
        if (signal.aborted) continue;
        missed += 1;
        if (toError(thrown) instanceof VitrineError && (thrown as VitrineError).code !== 'NOT_READY') throw thrown;
        if (missed === MOST_MISSED_POLLS) throw thrown;
      }
    }
  } finally {
    notice.end();
  }
  return report;
}

function hintOf({ state }: ProfileReport): string {
  if (state === 'armed') return '; it begins with a forward step to come: send requests';
  return state === 'recording' ? '; steps run while there are requests' : '';
}

function stillThere(code: 'ABORTED' | 'BENCH_FAILED', why: string, client: ProfileClient, report: ProfileReport) {
  const how = isUnderWay(report)
    ? `${howToEnd(client.baseUrl)}, and ${howToAsk(client.baseUrl, report)}`
    : howToAsk(client.baseUrl, report);
  return new VitrineError(code, `${why}: profile ${report.profile_id} is still ${describeProgress(report)}. ${how}.`);
}

/** For people: the request that ends a profile. */
export function howToEnd(baseUrl: string): string {
  return `\`curl -X POST ${baseUrl}/stop_profile\` ends it`;
}

export function howToAsk(baseUrl: string, { profile_id: id }: ProfileReport): string {
  return `\`curl '${baseUrl}/profile_status?profile_id=${id}'\` tells how it stands`;
}
