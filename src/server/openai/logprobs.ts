// Log-probabilities in the two forms of the OpenAI API.
import type { TokenLogprobs } from '../../messages/outputs.js';
import type { IncrementalDetokenizer } from '../../tokenizer/incremental-detokenizer.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

/** Of completions. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  /** Per position the most likely tokens; null where none were asked for. */
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Where each token starts in the text of the choice. */
  readonly text_offset: number[];
}

/**
 * Positions from `start` on are appended to `to`. `offsets` has seen the tokens before them; it makes `text_offset` exact
 * where tokens have no text of their own (special tokens, parts of a character).
 */
export function appendCompletionLogprobs(
  to: CompletionLogprobs,
  from: TokenLogprobs,
  start: number,
  tokenizer: Tokenizer,
  offsets: TextOffsets,
): void {
  for (let i = start; i < from.ids.length; i++) {
    const id = from.ids[i]!;
    to.tokens.push(tokenizer.tokenText(id));
    to.token_logprobs.push(from.values[i] ?? null);
    const top = from.top[i] ?? null;
    to.top_logprobs.push(top === null ? null : Object.fromEntries(top.map(([id, p]) => [tokenizer.tokenText(id), p])));
    to.text_offset.push(offsets.next(id));
  }
}

/** Where the tokens of a growing text begin, in UTF-16 units. */
export class TextOffsets {
  readonly #detokenizer: IncrementalDetokenizer;
  #length = 0;

  constructor(detokenizer: IncrementalDetokenizer) {
    this.#detokenizer = detokenizer;
  }

  /** Start of the next token, which is `id`. */
  next(id: number): number {
    const start = this.#length;
    this.#length += this.#detokenizer.push(id).length;
    return start;
  }
}

export function emptyCompletionLogprobs(): CompletionLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}

/** What the OpenAI API writes for a probability of 0, which JSON cannot say. */
const UNLIKELY = -9999;

interface ChatToken {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8 of `token`. */
  readonly bytes: number[];
}

/** Of chat completions. */
export interface ChatLogprobs {
  readonly content: (ChatToken & { readonly top_logprobs: readonly ChatToken[] })[];
}

/** Positions from `start` on. */
export function chatLogprobs(from: TokenLogprobs, start: number, tokenizer: Tokenizer): ChatLogprobs {
  const entry = (id: number, logprob: number): ChatToken => {
    const token = tokenizer.tokenText(id);
    return { token, logprob, bytes: [...Buffer.from(token)] };
  };
  const content: ChatLogprobs['content'] = [];
  for (let i = start; i < from.ids.length; i++) {
    const top = from.top[i] ?? [];
    content.push({
      ...entry(from.ids[i]!, from.values[i] ?? UNLIKELY),
      top_logprobs: top.map(([id, logprob]) => entry(id, logprob)),
    });
  }
  return { content };
}
