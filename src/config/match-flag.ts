// Finds the option a flag means, by argparse's rules: an exact name wins, otherwise any unambiguous prefix will do.
import { VitrineError } from '../util/errors.js';
import { closest } from './closest.js';
import type { Option } from './option.js';
import { acceptedOptions, type Program } from './program.js';

export interface MatchedFlag {
  readonly option: Option;
  /** True for the `--no-…` form. */
  readonly negated: boolean;
}

const HELP: Option = { flag: 'help', key: 'help', type: 'flag', help: 'Print this help.', group: 'General' };

export class FlagMatcher {
  /** The option of values without a flag. */
  readonly positional: MatchedFlag | undefined;
  readonly #program: Program;
  readonly #byName = new Map<string, MatchedFlag>();

  constructor(program: Program) {
    this.#program = program;
    const positional = program.options.find((option) => option.positional);
    this.positional = positional && { option: positional, negated: false };
    for (const option of [...acceptedOptions(program), HELP]) {
      const positive = { option, negated: false };
      for (const name of [option.flag, ...(option.aliases ?? [])]) this.#byName.set(name, positive);
      if (option.negatable) this.#byName.set(`no-${option.flag}`, { option, negated: true });
    }
  }

  /**
   * The option that `--name` means; underscores count as dashes.
   * @throws VitrineError INVALID_OPTION: unknown, ambiguous, or an option that only SGLang has
   */
  match(name: string): MatchedFlag {
    const wanted = name.replaceAll('_', '-');
    const exact = this.#byName.get(wanted);
    if (exact !== undefined) return exact;
    const { unsupported: later, multimodal = [] } = this.#program;
    if (later.includes(wanted) || multimodal.includes(wanted)) throw this.#unsupported(name, wanted);
    const candidates = new Map<string, MatchedFlag>();
    for (const [candidate, match] of this.#byName) {
      // Two names of one option are one candidate.
      if (candidate.startsWith(wanted)) candidates.set(`${match.option.key} ${match.negated}`, match);
    }
    if (candidates.size === 1) return [...candidates.values()][0]!;
    if (candidates.size > 1) throw ambiguous(name, [...candidates.values()]);
    const foreign = [...later, ...multimodal].find((flag) => flag.startsWith(wanted));
    if (foreign !== undefined) throw this.#unsupported(name, foreign);
    throw unknown(name, closest(wanted, [...this.#byName.keys()]), this.#program.name);
  }

  #unsupported(name: string, flag: string): VitrineError {
    const meant = name === flag ? '' : ` (--${flag})`;
    const isMultimodal = this.#program.multimodal?.includes(flag) ?? false;
    const reason = isMultimodal
      ? 'about multimodal models, and Vitrine has text models only'
      : 'that Vitrine does not support yet';
    const message = `--${name}${meant} is an SGLang option ${reason}`;
    return new VitrineError('INVALID_OPTION', message, { param: `--${name}` });
  }
}

const shown = ({ option, negated }: MatchedFlag): string => `--${negated ? 'no-' : ''}${option.flag}`;

function ambiguous(name: string, candidates: readonly MatchedFlag[]): VitrineError {
  const names = candidates.map(shown).join(', ');
  return new VitrineError('INVALID_OPTION', `--${name} is ambiguous: it could mean ${names}`, { param: `--${name}` });
}

function unknown(name: string, similar: readonly string[], program: string): VitrineError {
  const hint =
    similar.length > 0
      ? `did you mean ${similar.map((flag) => `--${flag}`).join(' or ')}?`
      : `vitrine ${program} --help lists the options`;
  return new VitrineError('INVALID_OPTION', `unknown option --${name}; ${hint}`, { param: `--${name}` });
}
