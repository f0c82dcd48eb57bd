// A request as a trace shows it: from its arrival to its last byte.

import type { RequestState } from '../request-state.js';
import type { Life, LifeRecord } from './front-end-tracer.js';

export class RequestLife implements Life {
  /** Of the request's arrow. The scheduler, which knows the id too, makes the same number of it. */
  readonly id: number;
  readonly beginNs: number;
  readonly #state: RequestState;

  /** `schedulerId`: that of the messages to the scheduler, a number in base 36. */
  constructor(schedulerId: string, state: RequestState, beginNs: number) {
    this.id = Number.parseInt(schedulerId, 36);
    this.beginNs = beginNs;
    this.#state = state;
  }

  describe(name: (text: string) => number): LifeRecord {
    const { rid, promptTokens, cachedTokens, completionTokens } = this.#state;
    const args = [name(rid), promptTokens, cachedTokens, completionTokens];
    return { category: 'request', name: name('request'), id: this.id, schema: 'request', args };
  }
}
