// Small tokenizer.json values with any decoder.

const COMMON = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  post_processor: null,
};

/** Words split at spaces. */
export function wordLevelJson(words: readonly string[], decoder: unknown = null): Record<string, unknown> {
  const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
  return {
    ...COMMON,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    decoder,
    model: { type: 'WordLevel', vocab, unk_token: words[0] },
  };
}

/** A Unigram model, whose vocabulary is a list. */
export function unigramJson(pieces: readonly string[], decoder: unknown): Record<string, unknown> {
  return {
    ...COMMON,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    decoder,
    model: { type: 'Unigram', unk_id: 0, vocab: pieces.map((piece, id) => [piece, -id]), byte_fallback: false },
  };
}
