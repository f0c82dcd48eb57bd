// The text half of a model: tokenizer and chat template.
import type { FrontendOptions } from '../config/tables/server-options.js';
import { resolveModelDirectory } from '../model/hub.js';
import { ChatTemplate } from '../tokenizer/chat-template.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';

export interface ModelText {
  /** null with `skipTokenizerInit`. */
  readonly tokenizer: Tokenizer | null;
  /** null where the model has none. */
  readonly chatTemplate: ChatTemplate | null;
}

/** Errors: MODEL_NOT_FOUND, TOKENIZER_INVALID, INVALID_OPTION. */
export async function loadText(
  options: FrontendOptions & { readonly modelPath: string; readonly revision: string },
  log: Log,
): Promise<ModelText> {
  if (options.skipTokenizerInit) return { tokenizer: null, chatTemplate: null };
  const directory = await resolveModelDirectory(options.tokenizerPath ?? options.modelPath, {
    revision: options.tokenizerPath === undefined ? options.revision : 'main',
    what: 'tokenizer',
    log,
  });
  const [tokenizer, chatTemplate] = await Promise.all([
    Tokenizer.load(directory).catch(adviseWithoutTokenizer),
    ChatTemplate.load(directory, options.chatTemplate),
  ]);
  return { tokenizer, chatTemplate: chatTemplate ?? null };
}

function adviseWithoutTokenizer(thrown: unknown): never {
  if (!(thrown instanceof VitrineError)) throw thrown;
  const message = `${thrown.message} (--skip-tokenizer-init serves token ids without any.)`;
  throw new VitrineError(thrown.code, message, { cause: thrown });
}
