// One case: an empty prefix cache, perhaps filled with the beginnings of the prompts, then the request that is timed.
import type { OneBatchServerOptions } from '../../config/tables/one-batch-server-options.js';
import type { JsonObject } from '../../util/read-json.js';
import type { Point } from '../one-batch/latency-test.js';
import type { Output } from '../terminal/output.js';
import { type BatchAnswer, type BatchRequest, sendBatch } from './batch-answer.js';
import type { CasePrompts } from './case-prompts.js';
import { type CaseResult, caseResult } from './case-result.js';
import type { CacheCounters, ServerClient } from './server-client.js';

export interface CaseRunnerDeps {
  readonly options: OneBatchServerOptions;
  readonly client: ServerClient;
  readonly prompts: CasePrompts;
  /** Name in the payload, for the dialect that has one. */
  readonly model: string | undefined;
  readonly signal: AbortSignal;
  readonly output: Output;
}

export class CaseRunner {
  readonly #deps: CaseRunnerDeps;

  constructor(deps: CaseRunnerDeps) {
    this.#deps = deps;
  }

  /** `before`: runs when all but the request is done. Rejects as `sendBatch` and the client do. */
  async run(point: Point, before?: () => Promise<void>): Promise<CaseResult> {
    const { client, signal, options } = this.#deps;
    await client.flushCache(signal);
    const prompts = await this.#deps.prompts.of(point);
    await this.#fillCache(prompts, point);
    await before?.();
    const counters = await client.cacheCounters(signal);
    const answer = await sendBatch(client.http, this.#request(prompts, point.outputLen), signal);
    const state = await client.generationState(signal);
    const after = counters && (await client.cacheCounters(signal));
    const cacheHitRate = hitRate(answer) ?? hitRateOf(counters, after) ?? null;
    const { runName, serverArgsForMetrics: serverArgs } = options;
    return caseResult({ runName, serverArgs, point, answer, state, cacheHitRate });
  }

  async #fillCache(prompts: readonly (readonly number[])[], { inputLen }: Point): Promise<void> {
    const { client, signal, options, output } = this.#deps;
    const tokens = Math.floor(inputLen * options.cacheHitRate);
    if (tokens === 0) return;
    const percent = (options.cacheHitRate * 100).toFixed(1);
    output.print(`Warming up cache with ${percent}% hit rate (${tokens} tokens per request)`);
    const beginnings = prompts.map((ids) => ids.slice(0, tokens));
    await sendBatch(client.http, this.#request(beginnings, 1), signal);
    output.print('Cache warmup completed');
  }

  #request(prompts: readonly (readonly number[])[], outputLen: number): BatchRequest {
    const { options, model } = this.#deps;
    const { temperature, returnLogprob } = options;
    const rest = { batchSize: prompts.length, outputLen };
    if (options.backend === 'vllm') {
      const body: JsonObject = {
        model,
        prompt: prompts,
        max_tokens: outputLen,
        temperature,
        ignore_eos: true,
        stream: true,
        stream_options: { include_usage: true },
        ...(returnLogprob ? { logprobs: 1 } : {}),
      };
      return { path: '/v1/completions', body, ...rest };
    }
    const body: JsonObject = {
      input_ids: prompts,
      sampling_params: {
        temperature,
        max_new_tokens: outputLen,
        ignore_eos: true,
        stream_interval: options.clientStreamInterval,
      },
      return_logprob: returnLogprob,
      stream: true,
      ...(options.parallelBatch ? { parallel_batch: true } : {}),
    };
    return { path: '/generate', body, ...rest };
  }
}

/** Of this very request. */
function hitRate({ cachedTokens, promptTokens }: BatchAnswer): number | undefined {
  return cachedTokens === undefined || !promptTokens ? undefined : cachedTokens / promptTokens;
}

/** Of everything that the server did meanwhile. */
function hitRateOf(before: CacheCounters | undefined, after: CacheCounters | undefined): number | undefined {
  if (before === undefined || after === undefined || after.prompt <= before.prompt) return undefined;
  return (after.cached - before.cached) / (after.prompt - before.prompt);
}
