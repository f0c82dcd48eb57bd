// Chat messages → prompt text, by the model's own Jinja template.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toError, VitrineError } from '../util/errors.js';
import { isJsonObject, readJsonObjectIfPresent } from '../util/read-json.js';
import { type ChatMessage, normalizeMessages } from './chat-message.js';
import { JinjaProgram } from './jinja-program.js';
import { TokenizerConfig } from './tokenizer-files.js';

export interface RenderOptions {
  /** End with the opening of the assistant's turn. */
  readonly addGenerationPrompt: boolean;
  /** Tool definitions, passed on as they are. */
  readonly tools?: unknown;
  /** More variables of the template (`chat_template_kwargs`), e.g. enable_thinking. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

interface NamedTemplate {
  readonly name: string;
  readonly template: JinjaProgram;
  /** Whether it prints content that comes as a list of parts. */
  readonly takesParts: boolean;
}

const PROBE = 'vitrine-content-probe';

/** Encode the result with `addSpecialTokens` false: the template writes bos itself. */
export class ChatTemplate {
  readonly #templates: readonly NamedTemplate[];
  readonly #tokens: Readonly<Record<string, string>>;

  private constructor(sources: ReadonlyMap<string, string>, origin: string, tokens: Readonly<Record<string, string>>) {
    this.#tokens = tokens;
    this.#templates = [...sources].map(([name, source]) => {
      const template = parse(source, origin, name);
      return { name, template, takesParts: this.#takesParts(template) };
    });
  }

  /**
   * The template of `overrideFile` (Jinja), else of chat_template.jinja, tokenizer_config.json or chat_template.json in
   * `directory`, in this order; undefined where there is none. Errors: INVALID_OPTION (override file), TOKENIZER_INVALID.
   */
  static async load(directory: string, overrideFile?: string): Promise<ChatTemplate | undefined> {
    const config = await TokenizerConfig.read(directory);
    const found =
      overrideFile === undefined ? await findTemplates(directory, config) : await readOverride(overrideFile);
    return found === undefined ? undefined : new ChatTemplate(found.sources, found.origin, config.namedTokens());
  }

  /** Errors: INVALID_REQUEST, with the template's own words where it raises one. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string {
    const { template, takesParts } = this.#choose(options.tools !== undefined && options.tools !== null);
    const variables = this.#variables(normalizeMessages(messages, takesParts), options);
    try {
      return template.render(variables);
    } catch (thrown) {
      const { message } = toError(thrown);
      throw new VitrineError('INVALID_REQUEST', `The chat template cannot render these messages: ${message}`, {
        param: 'messages',
        cause: thrown,
      });
    }
  }

  #variables(messages: readonly Record<string, unknown>[], options: RenderOptions): Record<string, unknown> {
    return {
      documents: null,
      ...this.#tokens,
      ...options.extra,
      messages,
      tools: options.tools ?? null,
      add_generation_prompt: options.addGenerationPrompt,
    };
  }

  /** As transformers: "tool_use" when tools are given and there is such a template, else "default". */
  #choose(withTools: boolean): NamedTemplate {
    const byName = (name: string) => this.#templates.find((template) => template.name === name);
    return (withTools ? byName('tool_use') : undefined) ?? byName('default')!;
  }

  #takesParts(template: JinjaProgram): boolean {
    const content = [{ type: 'text', text: PROBE }];
    try {
      const text = template.render(this.#variables([{ role: 'user', content }], { addGenerationPrompt: false }));
      // A template that expects a string may print the list itself, as JSON.
      return text.includes(PROBE) && !/["']type["']\s*:/.test(text);
    } catch {
      return false;
    }
  }
}

interface FoundTemplates {
  readonly sources: ReadonlyMap<string, string>;
  /** The file, for messages. */
  readonly origin: string;
}

async function readOverride(path: string): Promise<FoundTemplates> {
  try {
    return { sources: new Map([['default', await readFile(path, 'utf8')]]), origin: path };
  } catch (thrown) {
    const message = `--chat-template ${path} cannot be read: ${toError(thrown).message}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--chat-template', cause: thrown });
  }
}

async function findTemplates(directory: string, config: TokenizerConfig): Promise<FoundTemplates | undefined> {
  const jinjaFile = join(directory, 'chat_template.jinja');
  const jinja = await readFile(jinjaFile, 'utf8').catch(() => undefined);
  if (jinja !== undefined) return { sources: new Map([['default', jinja]]), origin: jinjaFile };
  const configFile = join(directory, 'tokenizer_config.json');
  const { chat_template: configured } = config.values;
  if (configured !== undefined && configured !== null) {
    return { sources: readNamed(configured, configFile), origin: configFile };
  }
  const jsonFile = join(directory, 'chat_template.json');
  const json = await readJsonObjectIfPresent(jsonFile, 'TOKENIZER_INVALID');
  return json === undefined ? undefined : { sources: readNamed(json.chat_template, jsonFile), origin: jsonFile };
}

/** A string, or a list of {name, template} with one named "default". */
function readNamed(value: unknown, origin: string): ReadonlyMap<string, string> {
  if (typeof value === 'string') return new Map([['default', value]]);
  const entries = Array.isArray(value) ? value.filter(isJsonObject) : [];
  const named = entries.filter((entry) => typeof entry.name === 'string' && typeof entry.template === 'string');
  const sources = new Map(named.map((entry) => [entry.name as string, entry.template as string]));
  if (sources.has('default')) return sources;
  throw new VitrineError(
    'TOKENIZER_INVALID',
    `${origin}: "chat_template" must be a string or a list of {name, template} with one named "default".`,
  );
}

function parse(source: string, origin: string, name: string): JinjaProgram {
  try {
    return new JinjaProgram(source);
  } catch (thrown) {
    const message = `${origin}: chat template "${name}" is not valid Jinja: ${toError(thrown).message}`;
    throw new VitrineError('TOKENIZER_INVALID', message, { cause: thrown });
  }
}
