// Options of `vitrine generate`: one prompt, in process, streamed to the terminal.
import type { Option, OptionsOf } from './option.js';
import { SCHEDULER_OPTIONS } from './scheduler-options.js';
import { FRONTEND_OPTIONS } from './server-options.js';

const GENERATION = 'Generation';

export const GENERATE_OPTIONS = [
  {
    flag: 'prompt',
    key: 'prompt',
    type: 'string',
    help: 'Text to continue. Default: what comes on standard input.',
    group: GENERATION,
  },
  {
    flag: 'max-new-tokens',
    key: 'maxNewTokens',
    type: 'integer',
    default: 128,
    min: 1,
    help: 'Most tokens to generate.',
    group: GENERATION,
  },
  {
    flag: 'temperature',
    key: 'temperature',
    type: 'number',
    default: 1,
    min: 0,
    help: '0 takes the most likely token each time.',
    group: GENERATION,
  },
  {
    flag: 'top-p',
    key: 'topP',
    type: 'number',
    default: 1,
    min: 1e-9,
    max: 1,
    help: 'Sample from the most likely tokens that together have this probability.',
    group: GENERATION,
  },
  {
    flag: 'top-k',
    key: 'topK',
    type: 'integer',
    default: -1,
    min: -1,
    help: 'Sample from this many most likely tokens; -1: all.',
    group: GENERATION,
  },
  {
    flag: 'min-p',
    key: 'minP',
    type: 'number',
    default: 0,
    min: 0,
    max: 1,
    help: 'Drop tokens less likely than this share of the most likely one.',
    group: GENERATION,
  },
  {
    flag: 'frequency-penalty',
    key: 'frequencyPenalty',
    type: 'number',
    default: 0,
    min: -2,
    max: 2,
    help: 'Subtracted from a token’s logit for each time it was generated.',
    group: GENERATION,
  },
  {
    flag: 'presence-penalty',
    key: 'presencePenalty',
    type: 'number',
    default: 0,
    min: -2,
    max: 2,
    help: 'Subtracted once from the logit of every token that was generated.',
    group: GENERATION,
  },
  {
    flag: 'repetition-penalty',
    key: 'repetitionPenalty',
    type: 'number',
    default: 1,
    min: 0,
    max: 2,
    help: 'Divides positive and multiplies negative logits of generated tokens; 1: off.',
    group: GENERATION,
  },
  {
    flag: 'seed',
    key: 'seed',
    type: 'integer',
    min: 0,
    help: 'Seed of the sampling; the same seed repeats the text. Default: drawn.',
    group: GENERATION,
  },
  {
    flag: 'stop',
    key: 'stop',
    type: 'strings',
    help: 'Texts at which generation ends.',
    group: GENERATION,
  },
  {
    flag: 'ignore-eos',
    key: 'ignoreEos',
    type: 'flag',
    default: false,
    help: 'Go on after the model’s end-of-sequence token.',
    group: GENERATION,
  },
  // A server logs its life; a program whose output is text on a terminal does so only when asked.
  ...SCHEDULER_OPTIONS,
  ...FRONTEND_OPTIONS.map((option) => (option.key === 'logLevel' ? ({ ...option, default: 'warn' } as const) : option)),
] as const satisfies readonly Option[];

export type GenerateOptions = OptionsOf<typeof GENERATE_OPTIONS>;
