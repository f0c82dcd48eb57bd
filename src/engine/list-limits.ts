// How long the lists of a request may be. A GPU has room for those of a step from the start: no step allocates memory.

export interface ListLimits {
  /** Token ids in a logit bias, those of stop tokens that are held back included. */
  readonly biasIds: number;
  /** Numbers beside a token's own log-probability: two for each most likely token, one for each that was asked for by id. */
  readonly rowLogprobs: number;
}

/** With thousands of request slots and chunks of thousands of tokens these are some 100 MiB. */
export const GPU_LISTS: ListLimits = { biasIds: 1024, rowLogprobs: 1024 };

export const UNBOUNDED_LISTS: ListLimits = { biasIds: Number.POSITIVE_INFINITY, rowLogprobs: Number.POSITIVE_INFINITY };
