// /health, /health_generate and /ping: is the engine alive? The answer comes with the next token of any request: of one
// that runs anyway, or of a probe of one token. Nothing is polled.
import type { FastifyInstance, FastifyReply } from 'fastify';
import { userAbort } from '../frontend/finish-error.js';
import { parseSamplingParams } from '../frontend/sampling-params.js';
import type { Lifecycle, Services } from './lifecycle.js';

export interface HealthOptions {
  /** Seconds after which the engine counts as dead (SGLANG_HEALTH_CHECK_TIMEOUT). */
  readonly timeoutSeconds: number;
  /** False: /health answers without asking the engine (SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION). */
  readonly probe: boolean;
}

/** SGLang's variables and their meanings. */
export function healthOptionsFromEnv(env: NodeJS.ProcessEnv): HealthOptions {
  const timeout = Number(env.SGLANG_HEALTH_CHECK_TIMEOUT ?? '');
  return {
    timeoutSeconds: timeout > 0 ? timeout : 20,
    probe: !/^(false|0|no|n)$/i.test(env.SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION ?? ''),
  };
}

export function installHealth(app: FastifyInstance, lifecycle: Lifecycle, options: HealthOptions): void {
  const probe = new HealthProbe(options.timeoutSeconds);
  const generate = async (reply: FastifyReply) => {
    const alive = await probe.isAlive(lifecycle.services());
    return reply.code(alive ? 200 : 503).send();
  };
  app.get('/health', async (_, reply) => {
    lifecycle.services();
    return options.probe ? generate(reply) : reply.code(200).send();
  });
  app.get('/health_generate', (_, reply) => generate(reply));
  app.get('/ping', async (_, reply) => {
    lifecycle.services();
    return reply.code(200).send();
  });
}

class HealthProbe {
  readonly #timeoutSeconds: number;
  /** Checks that come while one runs share it. */
  #running: Promise<boolean> | null = null;

  constructor(timeoutSeconds: number) {
    this.#timeoutSeconds = timeoutSeconds;
  }

  isAlive(services: Services): Promise<boolean> {
    this.#running ??= this.#ask(services).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #ask({ manager, scheduler }: Services): Promise<boolean> {
    const { vocabSize } = manager.info;
    const [prepared] = await manager.prepare({
      rid: `HEALTH_CHECK_${Date.now() / 1000}`,
      prompt: { inputIds: [0] },
      sampling: parseSamplingParams({ max_new_tokens: 1, temperature: 0 }, { vocabSize }),
      defaultMaxNewTokens: 1,
      logprobs: null,
    });
    const output = scheduler.nextOutput().then(() => scheduler.failure === null);
    const [state] = manager.start([prepared!], () => {});
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), this.#timeoutSeconds * 1000);
    });
    const alive = await Promise.race([output, timeout]);
    clearTimeout(timer);
    manager.abort(state!, userAbort('The health check has its answer.'), true);
    return alive;
  }
}
