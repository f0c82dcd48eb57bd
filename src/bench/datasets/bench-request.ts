// One request of a workload, before it is dressed in a server's dialect.

export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

/** Text, token ids that are sent as such, or the messages of a chat. */
export type Prompt = string | readonly number[] | readonly ChatMessage[];

export const isTokenIds = (prompt: Prompt): prompt is readonly number[] => typeof prompt[0] === 'number';

export interface BenchRequest {
  readonly prompt: Prompt;
  /** Prompt tokens by the client's count. */
  readonly promptLen: number;
  /** Tokens to ask for. */
  readonly outputLen: number;
  /** What the user says after each answer; every turn is sent with the whole conversation so far (chat backends). */
  readonly followUps?: readonly FollowUp[];
  /** Seconds after the start, in datasets that say when their requests came. */
  readonly timestamp?: number;
  /** Laid over the payload of this request alone. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Sent as X-SMG-Routing-Key, by which a router keeps requests together. */
  readonly routingKey?: string;
  /** Name of the LoRA adapter to answer with. */
  readonly lora?: string;
}

/** Messages that the requests send in all: one for each turn. */
export function countTurns(requests: readonly BenchRequest[]): number {
  return requests.reduce((turns, { followUps = [] }) => turns + 1 + followUps.length, 0);
}

export interface FollowUp {
  readonly text: string;
  /** Tokens of `text` alone. */
  readonly tokens: number;
  readonly outputLen: number;
}

/** A workload and what had to be left out to make it. */
export interface Workload {
  readonly requests: readonly BenchRequest[];
  /** Reason → number of rows of the source file that could not be used. */
  readonly skipped: Readonly<Record<string, number>>;
  /** What else there is to say of it, for people. */
  readonly notes?: readonly string[];
}
