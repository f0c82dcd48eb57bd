// Why a choice ended, in the words of the OpenAI API and SGLang's extension of it.
import type { RequestState } from '../../frontend/request-state.js';

export interface FinishFields {
  readonly finish_reason: string | null;
  /** Stop string or id of the stop token. */
  readonly matched_stop: string | number | null;
}

export function finishFields({ finish }: RequestState): FinishFields {
  return { finish_reason: finish?.type ?? null, matched_stop: finish?.type === 'stop' ? finish.matched : null };
}

/** The same as JSON without its braces, while the choice runs. */
export const NOT_FINISHED = '"finish_reason":null,"matched_stop":null';

/** The same as JSON without its braces. */
export function finishJson(state: RequestState): string {
  return state.finish === null ? NOT_FINISHED : JSON.stringify(finishFields(state)).slice(1, -1);
}
