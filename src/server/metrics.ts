// Prometheus metrics under SGLang's names, in a registry of their own. Counts are kept as plain numbers and put into the
// exposition when somebody scrapes: a token costs an addition and one histogram observation.
import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestObserver } from '../frontend/request-observer.js';
import type { RequestState } from '../frontend/request-state.js';
import type { SchedulerState } from '../messages/control.js';
import type { Lifecycle } from './lifecycle.js';

const TTFT_BUCKETS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400,
];
const ITL_BUCKETS = [
  0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4,
  0.6, 0.8, 1, 2, 4, 6, 8,
];
const E2E_BUCKETS = [
  0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400,
];
const QUEUE_BUCKETS = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200];

type Labels = 'model_name';

export class Metrics implements RequestObserver {
  readonly #registry = new Registry();
  readonly #labels: { readonly model_name: string };
  readonly #ttft: Histogram<Labels>;
  readonly #itl: Histogram<Labels>;
  readonly #e2e: Histogram<Labels>;
  readonly #queue: Histogram<Labels>;
  /** What the scheduler said for the scrape that is being answered. */
  #state: SchedulerState | null = null;
  #requests = 0;
  #aborted = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  #generatedTokens = 0;

  constructor(modelName: string) {
    this.#labels = { model_name: modelName };
    this.#ttft = this.#histogram('time_to_first_token_seconds', 'Time to first token in seconds.', TTFT_BUCKETS);
    this.#itl = this.#histogram('inter_token_latency_seconds', 'Time between tokens in seconds.', ITL_BUCKETS);
    this.#e2e = this.#histogram('e2e_request_latency_seconds', 'Time of whole requests in seconds.', E2E_BUCKETS);
    this.#queue = this.#histogram('queue_time_seconds', 'Time that requests waited in the queue.', QUEUE_BUCKETS);
    this.#counter('num_requests_total', 'Requests that have ended.', () => this.#requests);
    this.#counter('num_aborted_requests_total', 'Requests that were aborted or failed.', () => this.#aborted);
    this.#counter('prompt_tokens_total', 'Prompt tokens processed.', () => this.#promptTokens);
    this.#counter('cached_tokens_total', 'Prompt tokens taken from the prefix cache.', () => this.#cachedTokens);
    this.#counter('generation_tokens_total', 'Tokens generated.', () => this.#generatedTokens);
    this.#counter('num_retractions_total', 'Requests that lost their KV blocks and were computed again.', () =>
      this.#of((s) => s.retractionsTotal),
    );
    this.#gauge('num_running_reqs', 'Requests that are running.', (s) => s.runningRequests);
    this.#gauge('num_queue_reqs', 'Requests that are waiting.', (s) => s.queuedRequests);
    this.#gauge('num_used_tokens', 'KV cache tokens in use.', (s) => s.usedTokens);
    this.#gauge('max_total_num_tokens', 'KV cache tokens there are.', (s) => s.totalTokens);
    this.#gauge('token_usage', 'Share of the KV cache in use.', (s) => s.usedTokens / s.totalTokens);
    this.#gauge('gen_throughput', 'Tokens generated per second.', (s) => s.lastGenThroughput);
    this.#gauge('cache_hit_rate', 'Share of prompt tokens taken from the prefix cache.', (s) =>
      s.promptTokensTotal === 0 ? 0 : s.cachedTokensTotal / s.promptTokensTotal,
    );
  }

  install(app: FastifyInstance, lifecycle: Lifecycle): void {
    app.get('/metrics', async (_, reply) => {
      this.#state = await lifecycle.services().scheduler.state();
      return reply.type(this.#registry.contentType).send(await this.#registry.metrics());
    });
  }

  started(): void {}

  tokens(state: RequestState, count: number, seconds: number): void {
    if (isProbe(state)) return;
    this.#generatedTokens += count;
    if (state.completionTokens === count) this.#ttft.observe(this.#labels, seconds);
    else for (let i = 0; i < count; i++) this.#itl.observe(this.#labels, seconds / count);
  }

  finished(state: RequestState): void {
    if (isProbe(state)) return;
    this.#requests += 1;
    if (state.finish?.type === 'abort') this.#aborted += 1;
    this.#promptTokens += state.promptTokens;
    this.#cachedTokens += state.cachedTokens;
    this.#e2e.observe(this.#labels, state.finishedAt - state.request.receivedAt);
    const { times } = state;
    if (times !== null && times.scheduled > 0) this.#queue.observe(this.#labels, times.scheduled - times.queued);
  }

  #of(read: (state: SchedulerState) => number): number {
    return this.#state === null ? 0 : read(this.#state);
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<Labels> {
    return new Histogram({ ...this.#base(name, help), buckets });
  }

  #counter(name: string, help: string, value: () => number): void {
    const labels = this.#labels;
    new Counter({
      ...this.#base(name, help),
      collect() {
        this.reset();
        this.inc(labels, value());
      },
    });
  }

  #gauge(name: string, help: string, value: (state: SchedulerState) => number): void {
    const labels = this.#labels;
    const read = () => this.#of(value);
    new Gauge({
      ...this.#base(name, help),
      collect() {
        this.set(labels, read());
      },
    });
  }

  #base(name: string, help: string) {
    const labelNames: Labels[] = ['model_name'];
    return { name: `sglang:${name}`, help, labelNames, registers: [this.#registry] };
  }
}

function isProbe({ rid }: RequestState): boolean {
  return rid.startsWith('HEALTH_CHECK_');
}
