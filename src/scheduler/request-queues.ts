// Where every unfinished request of the scheduler is: waiting, or running in a request slot. Owns the slots.
import type { Request } from '../engine/request.js';
import { invariant } from '../util/errors.js';

export class RequestQueues {
  /** Head first. Retracted requests come before those that never ran. */
  readonly waiting: Request[] = [];
  /** Oldest admission first. */
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

  /** The first waiting request becomes a running one. */
  start(request: Request): void {
    invariant(this.waiting[0] === request, `request ${request.rid} is not the next one`);
    this.waiting.shift();
    request.slot = this.#freeSlots.pop()!;
    this.running.push(request);
  }

  /** A running request goes back to the head of the queue. Its blocks have been released. */
  retract(request: Request): void {
    this.#freeSlots.push(request.slot);
    remove(this.running, request);
    request.retract();
    this.waiting.unshift(request);
  }

  /** The request is over. */
  remove(request: Request): void {
    if (request.slot >= 0) {
      this.#freeSlots.push(request.slot);
      request.slot = -1;
      remove(this.running, request);
    } else {
      remove(this.waiting, request);
    }
    request.epoch += 1;
    this.#byRid.delete(request.rid);
  }
}

function remove(list: Request[], request: Request): void {
  const at = list.indexOf(request);
  invariant(at >= 0, `request ${request.rid} is not in its list`);
  list.splice(at, 1);
}
