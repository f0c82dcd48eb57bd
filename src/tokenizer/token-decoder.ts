// From token ids to text, synchronously: what every decoder of tokenizer.json offers.

/** Text of one growing sequence. What is returned is never taken back. */
export interface TokenStream {
  /** Text that became complete with this token. */
  push(id: number): string;
  /** What was held back: incomplete characters, as U+FFFD. */
  flush(): string;
}

/** Ids without a token decode to nothing, as in the library. */
export interface TokenDecoder {
  decode(ids: readonly number[]): string;
  /** `atStart` false: text came before, so that a leading space is a real one. */
  stream(atStart: boolean): TokenStream;
}
