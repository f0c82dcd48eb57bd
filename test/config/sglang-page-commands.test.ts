// The benchmark commands of SGLang's page "Benchmark and Profiling", word by word (dashes for `python -m sglang.`).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseArguments } from '#vitrine/config/parse.js';
import type { Program } from '#vitrine/config/program.js';
import {
  BENCH_OFFLINE_THROUGHPUT,
  BENCH_ONE_BATCH,
  BENCH_ONE_BATCH_SERVER,
  BENCH_SERVING,
} from '#vitrine/config/programs.js';

/** A command line, its program, and what some of its flags must come to. */
const COMMANDS: readonly (readonly [Program, string, Readonly<Record<string, unknown>>])[] = [
  [
    BENCH_ONE_BATCH,
    '--model-path meta-llama/Meta-Llama-3.1-8B-Instruct --batch 32 --input-len 256 --output-len 32',
    { modelPath: 'meta-llama/Meta-Llama-3.1-8B-Instruct', batchSize: [32], inputLen: [256], outputLen: [32] },
  ],
  [
    BENCH_ONE_BATCH_SERVER,
    '--base-url http://127.0.0.1:30000 --model-path meta-llama/Meta-Llama-3.1-8B-Instruct --batch-size 32 --input-len 256 --output-len 32',
    { baseUrl: 'http://127.0.0.1:30000', batchSize: [32], inputLen: [256], outputLen: [32], seed: 42 },
  ],
  [
    BENCH_OFFLINE_THROUGHPUT,
    '--model-path meta-llama/Meta-Llama-3.1-8B-Instruct --num-prompts 10',
    { numPrompts: 10, datasetName: 'sharegpt' },
  ],
  [BENCH_SERVING, '--backend sglang --num-prompt 10', { backend: 'sglang', numPrompts: 10 }],
  [
    BENCH_SERVING,
    '--backend sglang --model meta-llama/Llama-3.1-8B-Instruct --num-prompts 10 --sharegpt-output-len 100 --profile',
    { sharegptOutputLen: 100, profile: true },
  ],
  [
    BENCH_ONE_BATCH,
    '--model-path meta-llama/Llama-3.1-8B-Instruct --batch 32 --input-len 1024 --output-len 10 --profile',
    { profile: true, batchSize: [32] },
  ],
  [
    BENCH_OFFLINE_THROUGHPUT,
    '--model-path meta-llama/Llama-3.1-8B-Instruct --dataset-name random --num-prompts 10 --profile --mem-frac=0.8',
    { datasetName: 'random', profile: true, memFractionStatic: 0.8 },
  ],
  [
    BENCH_ONE_BATCH,
    '--model meta-llama/Meta-Llama-3-8B --batch-size 64 --input-len 512',
    { modelPath: 'meta-llama/Meta-Llama-3-8B', batchSize: [64] },
  ],
  [
    BENCH_SERVING,
    '--backend sglang --num-prompts 1000 --dataset-name random --random-input 1024 --random-output 512',
    { randomInputLen: 1024, randomOutputLen: 512 },
  ],
  [
    BENCH_ONE_BATCH,
    '--model-path meta-llama/Meta-Llama-3.1-8B-Instruct --batch 32 --input-len 256 --output-len 32 --load-format dummy --json-model-override-args {"num_hidden_layers":1,"num_key_value_heads":1}',
    { loadFormat: 'dummy', jsonModelOverrideArgs: { num_hidden_layers: 1, num_key_value_heads: 1 } },
  ],
  [BENCH_ONE_BATCH, '--model-path m --correct', { correctnessTest: true }],
];

for (const [program, line, expected] of COMMANDS) {
  test(`${program.name} ${line}`, () => {
    const { options, warnings } = parseArguments(program, line.split(' '), {});
    const values = options as Readonly<Record<string, unknown>>;
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(values[key], value, key);
    assert.deepEqual(warnings, []);
  });
}
