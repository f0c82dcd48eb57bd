// All requests at once through an engine, and what became of each.
import { setMaxListeners } from 'node:events';
import type { LogprobRequest, SamplingOptions } from '../../runtime/engine-request.js';
import { monotonicSeconds } from '../../util/clock.js';
import { toError } from '../../util/errors.js';
import { sum } from '../statistics/statistics.js';
import type { OfflineRequest } from './offline-request.js';
import type { OfflineEngine } from './offline-throughput.js';

export interface Outcome {
  readonly request: OfflineRequest;
  /** Seconds from the start of the run, which is when every request is given. */
  readonly latency: number;
  /** '' for a success. */
  readonly error: string;
  /** Cut short by the user: neither success nor failure. */
  readonly interrupted: boolean;
  /** By the engine. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

export interface RunSettings {
  /** Of every request; its output length comes on top where `maxNewTokens` is not here. */
  readonly sampling: SamplingOptions;
  readonly logprobs?: LogprobRequest | undefined;
  readonly signal: AbortSignal;
  readonly onEnd?: (outcome: Outcome) => void;
}

export async function runAll(
  engine: OfflineEngine,
  requests: readonly OfflineRequest[],
  settings: RunSettings,
): Promise<{ outcomes: readonly Outcome[]; seconds: number }> {
  setMaxListeners(0, settings.signal); // every request listens
  const started = monotonicSeconds();
  const outcomes = await Promise.all(
    requests.map(async (request) => {
      const outcome = await runOne(engine, request, settings, started);
      settings.onEnd?.(outcome);
      return outcome;
    }),
  );
  return { outcomes, seconds: monotonicSeconds() - started };
}

async function runOne(
  engine: OfflineEngine,
  request: OfflineRequest,
  { sampling, logprobs, signal }: RunSettings,
  started: number,
): Promise<Outcome> {
  const { prompt, outputLen } = request;
  const common = {
    samplingParams: { maxNewTokens: outputLen, ...sampling },
    signal,
    ...(logprobs === undefined ? {} : { logprobs }),
  };
  const ended = (counts: Partial<Outcome>): Outcome => ({
    ...{ request, latency: monotonicSeconds() - started, error: '', interrupted: false },
    ...{ promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
    ...counts,
  });
  try {
    const results = await engine
      .generate(typeof prompt === 'string' ? { prompt, ...common } : { inputIds: prompt, ...common })
      .all();
    return ended({
      interrupted: results.some(({ finishReason }) => finishReason.type === 'abort'),
      promptTokens: sum(results.map(({ promptTokens }) => promptTokens)),
      cachedTokens: sum(results.map(({ cachedTokens }) => cachedTokens)),
      completionTokens: sum(results.map(({ completionTokens }) => completionTokens)),
    });
  } catch (thrown) {
    return ended(signal.aborted ? { interrupted: true } : { error: toError(thrown).message });
  }
}
