// One row per program: its name, what it is for, and its table of options. Help, parsing and docs/options.md come from it.
import type { Option } from './option.js';

export interface Program<Table extends readonly Option[] = readonly Option[]> {
  /** Command name, with dashes. */
  readonly name: string;
  /** One sentence for the list of commands. */
  readonly summary: string;
  readonly options: Table;
  /**
   * Options that are accepted and checked because scripts for SGLang pass them, and that cannot matter here.
   * Giving one prints a warning with the reason.
   */
  readonly inert?: { readonly options: readonly Option[]; readonly reason: string };
  /** SGLang’s flags of the same program that do not exist here: refused by name. */
  readonly unsupported: readonly string[];
  /** Those about images and the like: refused too, for good. */
  readonly multimodal?: readonly string[];
  /** Example lines for --help. */
  readonly examples: readonly string[];
}

/** The option that every program has on top of its table: a YAML file with more options. */
export const CONFIG_OPTION = {
  flag: 'config',
  key: 'config',
  type: 'string',
  help: 'YAML file of options (flag names as keys, with dashes or underscores). The command line wins.',
  group: 'General',
} as const satisfies Option;

/** Everything the program understands, without --help. */
export function acceptedOptions(program: Program): readonly Option[] {
  return [...program.options, ...(program.inert?.options ?? []), CONFIG_OPTION];
}
