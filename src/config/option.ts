// One row per command-line option. Tables of rows feed the command line, the typed config objects and docs/options.md.

export type OptionType = 'string' | 'integer' | 'number' | 'flag' | 'json' | 'strings' | 'integers';

interface ValueOf {
  string: string;
  integer: number;
  number: number;
  flag: boolean;
  json: Readonly<Record<string, unknown>>;
  strings: readonly string[];
  integers: readonly number[];
}

/** `default: undefined` means "not set"; the reader decides (the help says how). */
export interface Option {
  /** Long flag without dashes, e.g. `page-size`. */
  readonly flag: string;
  /** Property of the config object, e.g. `pageSize`. */
  readonly key: string;
  readonly type: OptionType;
  readonly default?: ValueOf[OptionType];
  /** Other long flags with the same meaning, without dashes. */
  readonly aliases?: readonly string[];
  /** A flag that has a `--no-…` form too. */
  readonly negatable?: boolean;
  readonly required?: boolean;
  /** Values without a flag before them are this option’s (text only; at most one option of a program). */
  readonly positional?: boolean;
  readonly choices?: readonly string[];
  /** Values that SGLang has and this option refuses by name → the end of the sentence that says why. */
  readonly refused?: Readonly<Record<string, string>>;
  readonly min?: number;
  readonly max?: number;
  /** `inf` is a legal value (numbers only). */
  readonly infinite?: boolean;
  /** Environment variable read when the flag is absent. */
  readonly env?: string;
  readonly help: string;
  /** Heading in --help and docs/options.md. */
  readonly group: string;
}

type ChoiceOf<O extends Option> = O extends { choices: readonly (infer C)[] }
  ? O['type'] extends 'strings'
    ? readonly C[]
    : C
  : ValueOf[O['type']];

type IsSet<O> = O extends { default: infer D } ? D : O extends { required: true } | { type: 'flag' } ? true : undefined;
type Present<O extends Option> = undefined extends IsSet<O> ? ChoiceOf<O> | undefined : ChoiceOf<O>;

/** The config object that a table describes. */
export type OptionsOf<Table extends readonly Option[]> = { readonly [O in Table[number] as O['key']]: Present<O> };
