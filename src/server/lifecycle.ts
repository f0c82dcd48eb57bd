// In which phase of its life the server is, and what its routes work with once the model is loaded.
import type { ProfileManager } from '../frontend/profiler/profile-manager.js';
import type { SchedulerClient } from '../frontend/scheduler-client.js';
import type { TokenizerManager } from '../frontend/tokenizer-manager.js';
import { VitrineError } from '../util/errors.js';
import type { ServedModel } from './served-model.js';

export interface Services {
  readonly manager: TokenizerManager;
  readonly scheduler: SchedulerClient;
  readonly profiles: ProfileManager;
  readonly model: ServedModel;
}

type Phase = 'starting' | 'ready' | 'draining' | 'failed';

export class Lifecycle {
  #phase: Phase = 'starting';
  #services: Services | null = null;
  #failure: VitrineError | null = null;

  get phase(): Phase {
    return this.#phase;
  }

  /** The services while the server takes requests. Errors: NOT_READY, SHUTTING_DOWN, or what broke the engine. */
  services(): Services {
    if (this.#failure !== null) throw this.#failure;
    if (this.#phase === 'draining') throw new VitrineError('SHUTTING_DOWN', 'The server is shutting down.');
    if (this.#phase === 'starting' || this.#services === null) {
      throw new VitrineError('NOT_READY', 'The server is still loading the model.');
    }
    return this.#services;
  }

  /** The services whatever the phase, or null before they are there. */
  get loaded(): Services | null {
    return this.#services;
  }

  load(services: Services): void {
    this.#services = services;
  }

  ready(): void {
    if (this.#phase === 'starting') this.#phase = 'ready';
  }

  drain(): void {
    if (this.#phase !== 'failed') this.#phase = 'draining';
  }

  fail(failure: VitrineError): void {
    this.#phase = 'failed';
    this.#failure ??= failure;
  }
}
