// --correctness-test: prompts in two prefill steps, then greedy decoding; logits and texts are printed to be compared.
import type { ModelRunner } from '../../engine/model-runner.js';
import type { StepOutput } from '../../engine/step-output.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Output } from '../terminal/output.js';
import { StaticBatch } from './static-batch.js';

/** SGLang's prompts, spelling included. */
export const FIXED_PROMPTS = [
  'The capital of France is',
  'The capital of the United Kindom is',
  'Today is a sunny day and I like',
];

export interface CorrectnessSettings {
  /** Prompt tokens of the first prefill step; 0: one step. */
  readonly cutLen: number;
  readonly outputLen: number;
  readonly interrupt: AbortSignal;
}

/** `prompts`: token ids. */
export async function testCorrectness(
  runner: ModelRunner,
  tokenizer: Tokenizer,
  prompts: readonly (readonly number[])[],
  settings: CorrectnessSettings,
  output: Output,
): Promise<void> {
  const { cutLen, outputLen, interrupt } = settings;
  const short = prompts.find((ids) => ids.length <= cutLen);
  if (short !== undefined) {
    const message = `--cut-len ${cutLen}: every prompt must be longer, one has ${short.length} tokens`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--cut-len' });
  }
  output.print(`\ninput_ids=[${prompts.map((ids) => `[${ids.join(', ')}]`).join(', ')}]\n`);
  const lengths = prompts.map((ids) => ids.length + outputLen);
  const batch = new StaticBatch(runner, lengths, { returnLogits: true, interrupt });
  if (cutLen > 0) {
    const half = await batch.extend(prompts.map((ids) => ids.slice(0, cutLen)));
    output.print(`prefill logits (first half): ${showLogits(half, prompts.length)}\n`);
  }
  const whole = await batch.extend(prompts.map((ids) => ids.slice(cutLen)));
  output.print(`prefill logits (final): ${showLogits(whole, prompts.length)}\n`);
  const texts = prompts.map((ids, i) => [...ids, whole.sampledIds[i]!]);
  for (let step = 1; step < outputLen; step++) {
    const { sampledIds } = await batch.decode();
    for (const [i, ids] of texts.entries()) ids.push(sampledIds[i]!);
  }
  for (const [i, ids] of texts.entries()) {
    output.print(`========== Prompt ${i} ==========`);
    output.print(`${tokenizer.decode(ids, false)}\n`);
  }
}

/** The ends of each row, as PyTorch prints a tensor. */
function showLogits(step: StepOutput, rows: number): string {
  const lines = Array.from({ length: rows }, (_, row) => {
    const logits = [...step.logits(row)];
    const shown = (values: readonly number[]): string => values.map((value) => value.toFixed(4)).join(', ');
    return logits.length > 6 ? `[${shown(logits.slice(0, 3))}, ..., ${shown(logits.slice(-3))}]` : `[${shown(logits)}]`;
  });
  return `tensor([${lines.join(',\n        ')}])`;
}
