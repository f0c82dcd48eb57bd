// --correctness-test: three fixed prompts in two prefill steps and greedy decoding; prints logits and texts to compare.
import type { ModelRunner } from '../../engine/model-runner.js';
import type { StepOutput } from '../../engine/step-output.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { VitrineError } from '../../util/errors.js';
import type { Output } from '../output.js';
import { StaticBatch } from './static-batch.js';

export const CORRECTNESS_PROMPTS: readonly string[] = [
  'The capital of France is',
  'The capital of the United Kindom is', // the misspelling is SGLang's
  'Today is a sunny day and I like',
];

export interface CorrectnessTest {
  readonly runner: ModelRunner;
  readonly tokenizer: Tokenizer;
  readonly output: Output;
  /** Prompt tokens of the first prefill step. */
  readonly cutLen: number;
  readonly outputLen: number;
}

export async function runCorrectnessTest(test: CorrectnessTest, texts: readonly string[]): Promise<void> {
  const { runner, tokenizer, output, cutLen, outputLen } = test;
  const prompts = await Promise.all(texts.map((text) => tokenizer.encode(text, true)));
  const short = prompts.findIndex((prompt) => prompt.length <= cutLen);
  if (short >= 0) {
    const message = `--cut-len ${cutLen} must be less than the ${prompts[short]!.length} tokens of prompt ${short}`;
    throw new VitrineError('INVALID_OPTION', message, { param: '--cut-len' });
  }
  output.print(`input_ids=${JSON.stringify(prompts)}`);
  output.print('');
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const batch = new StaticBatch(runner, prompts, longest + outputLen, { logits: true });
  printLogits(output, 'first half', await batch.prefill(cutLen), prompts.length);
  let step = await batch.prefill();
  printLogits(output, 'final', step, prompts.length);
  const outputs = prompts.map((prompt) => [...prompt]);
  for (let i = 0; i < outputLen; i++) {
    step.sampledIds.forEach((id, r) => {
      outputs[r]!.push(id);
    });
    if (i + 1 < outputLen) step = await batch.decode();
  }
  outputs.forEach((ids, i) => {
    output.print(`========== Prompt ${i} ==========`);
    output.print(`${tokenizer.decode(ids, false)}\n`);
  });
}

function printLogits(output: Output, what: string, step: StepOutput, rows: number): void {
  output.print(`prefill logits (${what}):`);
  for (let row = 0; row < rows; row++) {
    const logits = step.logits(row);
    const ends = [...logits.subarray(0, 3), ...logits.subarray(-3)].map((value) => value.toFixed(4));
    output.print(`  [${ends.slice(0, 3).join(', ')}, …, ${ends.slice(3).join(', ')}] (${logits.length})`);
  }
  output.print('');
}
