// Where every unfinished request of the scheduler is: waiting, or running in a request slot. Owns the slots.
import type { Request } from '../engine/request.js';
import type { BlockTable } from '../kv-cache/block-table.js';
import { invariant } from '../util/errors.js';

export class RequestQueues {
  /** In order of arrival, retracted requests in front. */
  readonly waiting: Request[] = [];
  /** Oldest start first. */
  readonly running: Request[] = [];
  readonly #byRid = new Map<string, Request>();
  readonly #freeSlots: number[];

  constructor(slots: number) {
    this.#freeSlots = Array.from({ length: slots }, (_, i) => slots - 1 - i);
  }

  get hasFreeSlot(): boolean {
    return this.#freeSlots.length > 0;
  }

  get isEmpty(): boolean {
    return this.#byRid.size === 0;
  }

  find(rid: string): Request | undefined {
    return this.#byRid.get(rid);
  }

  all(): Request[] {
    return [...this.#byRid.values()];
  }

  enqueue(request: Request): void {
    this.waiting.push(request);
    this.#byRid.set(request.rid, request);
  }

  /** A waiting request becomes a running one. Those that came before it have been passed over. */
  start(request: Request, table: BlockTable, cachedLen: number): void {
    const at = this.waiting.indexOf(request);
    invariant(at >= 0, `request ${request.rid} is not waiting`);
    for (let i = 0; i < at; i++) this.waiting[i]!.passedOver += 1;
    this.waiting.splice(at, 1);
    request.start(this.#freeSlots.pop()!, table, cachedLen);
    this.running.push(request);
  }

  /** A running request goes back to the head of the queue. Its blocks have been given back. */
  retract(request: Request): void {
    this.#leaveSlot(request);
    request.retract();
    this.waiting.unshift(request);
  }

  /** The request is over. Its blocks have been given back. */
  remove(request: Request): void {
    if (request.slot >= 0) this.#leaveSlot(request);
    else removeFrom(this.waiting, request);
    request.epoch += 1;
    this.#byRid.delete(request.rid);
  }

  #leaveSlot(request: Request): void {
    this.#freeSlots.push(request.slot);
    request.slot = -1;
    removeFrom(this.running, request);
  }
}

function removeFrom(list: Request[], request: Request): void {
  const at = list.indexOf(request);
  invariant(at >= 0, `request ${request.rid} is not in its list`);
  list.splice(at, 1);
}
