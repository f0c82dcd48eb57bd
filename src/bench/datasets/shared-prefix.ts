// Dataset generated-shared-prefix: groups of prompts that begin with the same system prompt, for prefix caches and routers.
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { Random } from '../random.js';
import { mean, sum } from '../statistics/statistics.js';
import type { BenchRequest, FollowUp, Workload } from './bench-request.js';
import { countPromptTokens } from './count-tokens.js';
import { inTurns } from './in-turns.js';
import { uniformLengths } from './random-lengths.js';
import { VocabularyText } from './vocabulary-text.js';

export interface SharedPrefixSettings {
  readonly seed: number;
  readonly numGroups: number;
  readonly promptsPerGroup: number;
  /** Longest system prompt, question and output, in tokens. */
  readonly systemPromptLen: number;
  readonly questionLen: number;
  readonly outputLen: number;
  /** Lengths are uniform from this share of the longest up to it. */
  readonly rangeRatio: number;
  /** Texts are not encoded again: prompt lengths are the nominal ones. */
  readonly fastPrepare: boolean;
  /** Requests of a group carry a key of their own. */
  readonly sendRoutingKey: boolean;
  /** Group after group and not shuffled. */
  readonly ordered: boolean;
  /** Questions of each conversation. */
  readonly numTurns: number;
}

interface Text {
  readonly text: string;
  readonly tokens: number;
}

const SEPARATOR = '\n\n';

/** A prompt is the group's system prompt, an empty line and a question; further turns are questions alone. */
export async function sharedPrefixWorkload(
  tokenizer: Tokenizer,
  settings: SharedPrefixSettings,
  signal?: AbortSignal,
): Promise<Workload> {
  const { numGroups, promptsPerGroup, numTurns, rangeRatio, seed } = settings;
  const count = numGroups * promptsPerGroup;
  const lengths = new Random(seed, 'shared prefix lengths');
  const systemLens = uniformLengths(lengths, settings.systemPromptLen, rangeRatio, numGroups);
  const questionLens = uniformLengths(lengths, settings.questionLen, rangeRatio, count * numTurns);
  const outputLens = uniformLengths(lengths, settings.outputLen, rangeRatio, count);
  const run = new Random(seed, 'routing key').uint32().toString(16).padStart(8, '0');
  const words = await VocabularyText.create(tokenizer, seed, signal);
  const write = async (tokens: number): Promise<Text> => {
    if (settings.fastPrepare) return { text: words.draft(tokens), tokens };
    const { text, ids } = await words.next(tokens);
    return { text, tokens: ids.length };
  };

  const systems: Text[] = [];
  const questions: Text[] = [];
  const nominal: (BenchRequest & { readonly prompt: string })[] = [];
  for (let group = 0; group < numGroups; group++) {
    const system = await write(systemLens[group]!);
    systems.push(system);
    for await (const _ of inTurns(Array(promptsPerGroup).keys(), signal)) {
      const index = nominal.length;
      const outputLen = outputLens[index]!;
      const turns: Text[] = [];
      for (let turn = 0; turn < numTurns; turn++) turns.push(await write(questionLens[index * numTurns + turn]!));
      questions.push(...turns);
      const [first, ...further] = turns;
      const prompt = `${system.text}${SEPARATOR}${first!.text}`;
      const followUps: FollowUp[] = further.map((question) => ({ ...question, outputLen }));
      nominal.push({
        prompt,
        promptLen: system.tokens + first!.tokens,
        outputLen,
        ...(followUps.length > 0 ? { followUps } : {}),
        ...(settings.sendRoutingKey ? { routingKey: `${run}_${group}` } : {}),
      });
    }
  }
  let requests: BenchRequest[] = nominal;
  if (!settings.fastPrepare) {
    // The separator and the special tokens count too, and words may join at the seam.
    const promptLens = await countPromptTokens(
      tokenizer,
      nominal.map(({ prompt }) => prompt),
      signal,
    );
    requests = nominal.map((request, i) => ({ ...request, promptLen: promptLens[i]! }));
  }
  const notes = describe(settings, systems, questions);
  if (!settings.ordered) new Random(seed, 'shared prefix order').shuffle(requests);
  return { requests, skipped: {}, notes };
}

function describe(settings: SharedPrefixSettings, systems: readonly Text[], questions: readonly Text[]): string[] {
  const tokens = (texts: readonly Text[]): number[] => texts.map((text) => text.tokens);
  const shared = sum(tokens(systems)) * settings.promptsPerGroup;
  return [
    'Generated shared prefix dataset statistics:',
    `Number of groups: ${settings.numGroups}`,
    `Prompts per group: ${settings.promptsPerGroup}`,
    `Total prompts: ${settings.numGroups * settings.promptsPerGroup}`,
    ...(settings.numTurns > 1 ? [`Turns per prompt: ${settings.numTurns}`] : []),
    `Average system prompt length: ${mean(tokens(systems)).toFixed(1)} tokens`,
    `Average question length: ${mean(tokens(questions)).toFixed(1)} tokens`,
    `Shared share of the prompts: ${((100 * shared) / (shared + sum(tokens(questions)))).toFixed(1)} %`,
  ];
}
