// Text ↔ token ids. Encoding is the official `tokenizers` library's, on its own threads; decoding is ours, synchronous.
import { AddedToken, Tokenizer as LibraryTokenizer } from 'tokenizers';
import { toError, VitrineError } from '../util/errors.js';
import { isJsonObject } from '../util/read-json.js';
import { createTokenDecoder } from './create-token-decoder.js';
import type { TokenDecoder, TokenStream } from './token-decoder.js';
import { type AddedTokenEntry, readAddedToken, readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.js';
import { Vocabulary } from './vocabulary.js';

export class Tokenizer {
  /** Every id is below it. It may be smaller than the model's vocabulary (padding) and, rarely, larger. */
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  /** From tokenizer_config.json; the model's own end tokens are in PreparedModel. */
  readonly eosTokenIds: readonly number[];
  /** What `skipSpecialTokens` leaves out. */
  readonly specialIds: ReadonlySet<number>;
  readonly #library: LibraryTokenizer;
  readonly #decoder: TokenDecoder;

  private constructor(library: LibraryTokenizer, vocabulary: Vocabulary, { json, config }: TokenizerFiles) {
    this.#library = library;
    this.#decoder = createTokenDecoder(json.decoder, vocabulary, library.getDecoder());
    this.vocabSize = vocabulary.size;
    this.specialIds = vocabulary.specialIds;
    const idOf = (name: string) => {
      const text = config.namedToken(name);
      return text === undefined ? undefined : (library.tokenToId(text) ?? undefined);
    };
    this.bosTokenId = idOf('bos_token');
    const eos = idOf('eos_token');
    this.eosTokenIds = eos === undefined ? [] : [eos];
  }

  /**
   * Reads tokenizer.json and tokenizer_config.json. tokenizer.json alone decides how text is split and whether bos comes
   * first; of tokenizer_config.json the named tokens and tokens that tokenizer.json lacks are used, not add_bos_token and
   * not clean_up_tokenization_spaces (which would delete spaces the model wrote). Error: TOKENIZER_INVALID.
   */
  static async load(directory: string): Promise<Tokenizer> {
    const files = await readTokenizerFiles(directory);
    let library: LibraryTokenizer;
    try {
      library = LibraryTokenizer.fromString(files.text);
    } catch (thrown) {
      const message = `${files.path} is not a tokenizer: ${toError(thrown).message}`;
      throw new VitrineError('TOKENIZER_INVALID', message, { cause: thrown });
    }
    // Left over from training in some files; a prompt must never be cut or padded silently.
    library.disableTruncation();
    library.disablePadding();
    return new Tokenizer(library, loadVocabulary(files, library), files);
  }

  /**
   * `addSpecialTokens`: bos or whatever tokenizer.json adds around a text; false for text that a chat template rendered.
   * Special tokens written out in the text become their ids either way.
   */
  async encode(text: string, addSpecialTokens: boolean): Promise<number[]> {
    const encoding = await this.#library.encode(text, null, { addSpecialTokens });
    return encoding.getIds();
  }

  /** The same text as the library's decode. Ids without a token give nothing, incomplete characters U+FFFD. */
  decode(ids: readonly number[], skipSpecialTokens: boolean): string {
    return this.#decoder.decode(skipSpecialTokens ? ids.filter((id) => !this.specialIds.has(id)) : ids);
  }

  /** Text of one token in the middle of a text: its leading space stays. */
  tokenText(id: number): string {
    const stream = this.#decoder.stream(false);
    return stream.push(id) + stream.flush();
  }

  /** A growing text, special tokens included; IncrementalDetokenizer is its front. */
  stream(atStart: boolean): TokenStream {
    return this.#decoder.stream(atStart);
  }
}

function loadVocabulary({ json, path, config }: TokenizerFiles, library: LibraryTokenizer): Vocabulary {
  const vocabulary = new Vocabulary(json, path);
  const listed = Array.isArray(json.added_tokens) ? json.added_tokens.filter(isJsonObject).map(readAddedToken) : [];
  const missing = config.addedTokens().filter((token) => library.tokenToId(token.content) === null);
  library.addAddedTokens(missing.map(toLibraryToken));
  for (const { content, special } of [...listed, ...missing]) {
    // The library may have given a token another id than the file says; what it encodes to is what counts.
    const id = library.tokenToId(content);
    if (id !== null) vocabulary.addToken(id, content, special);
  }
  return vocabulary;
}

function toLibraryToken({ content, special, ...options }: AddedTokenEntry): AddedToken {
  return new AddedToken(content, special, options);
}
