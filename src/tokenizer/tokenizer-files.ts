// The files that describe a tokenizer: tokenizer.json, tokenizer_config.json, special_tokens_map.json.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toError, VitrineError } from '../util/errors.js';
import { isJsonObject, type JsonObject, readJsonObjectIfPresent } from '../util/read-json.js';

export interface TokenizerFiles {
  /** Path of tokenizer.json. */
  readonly path: string;
  /** Its text and its value. */
  readonly text: string;
  readonly json: JsonObject;
  readonly config: TokenizerConfig;
}

/** A token that is matched in the text before the model's own tokens. */
export interface AddedTokenEntry {
  readonly content: string;
  readonly special: boolean;
  readonly singleWord: boolean;
  readonly leftStrip: boolean;
  readonly rightStrip: boolean;
  readonly normalized: boolean;
}

/** tokenizer_config.json over special_tokens_map.json; empty where there is neither. */
export class TokenizerConfig {
  constructor(readonly values: JsonObject) {}

  static async read(directory: string): Promise<TokenizerConfig> {
    const read = (name: string) => readJsonObjectIfPresent(join(directory, name), 'TOKENIZER_INVALID');
    return new TokenizerConfig({
      ...(await read('special_tokens_map.json')),
      ...(await read('tokenizer_config.json')),
    });
  }

  /** Text of a named token (`bos_token`, `eos_token`, …), which may be stored as a string or as an object. */
  namedToken(name: string): string | undefined {
    const value = this.values[name];
    const content = isJsonObject(value) ? value.content : value;
    return typeof content === 'string' ? content : undefined;
  }

  /** All `…_token` entries, for chat templates. */
  namedTokens(): Record<string, string> {
    const names = Object.keys(this.values).filter((key) => key.endsWith('_token'));
    const tokens = names.map((name) => [name, this.namedToken(name)] as const);
    return Object.fromEntries(tokens.filter((pair): pair is [string, string] => pair[1] !== undefined));
  }

  /** `added_tokens_decoder` in order of id. */
  addedTokens(): AddedTokenEntry[] {
    const entries = this.values.added_tokens_decoder;
    if (!isJsonObject(entries)) return [];
    const byId = Object.entries(entries).toSorted(([a], [b]) => Number(a) - Number(b));
    return byId.flatMap(([, entry]) => (isJsonObject(entry) ? [readAddedToken(entry)] : []));
  }
}

export function readAddedToken(entry: JsonObject): AddedTokenEntry {
  return {
    content: String(entry.content),
    special: entry.special === true,
    singleWord: entry.single_word === true,
    leftStrip: entry.lstrip === true,
    rightStrip: entry.rstrip === true,
    normalized: entry.normalized === true,
  };
}

export async function readTokenizerFiles(directory: string): Promise<TokenizerFiles> {
  const path = join(directory, 'tokenizer.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    const reason = (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : toError(thrown).message;
    throw new VitrineError(
      'TOKENIZER_INVALID',
      `${path}: ${reason}. A "fast" tokenizer is needed; transformers writes one with ` +
        'AutoTokenizer.from_pretrained(folder).save_pretrained(folder).',
      { cause: thrown },
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    throw new VitrineError('TOKENIZER_INVALID', `${path} is not valid JSON: ${toError(thrown).message}`, {
      cause: thrown,
    });
  }
  if (!isJsonObject(json)) throw new VitrineError('TOKENIZER_INVALID', `${path} must hold a JSON object.`);
  return { path, text, json, config: await TokenizerConfig.read(directory) };
}
