// Every program of the `vitrine` command.

import type { Option } from './option.js';
import type { Program } from './program.js';
import { BENCH_COMPARE_OPTIONS } from './tables/bench-compare-options.js';
import { BENCH_SERVING_OPTIONS } from './tables/bench-serving-options.js';
import { GENERATE_OPTIONS } from './tables/generate-options.js';
import { OFFLINE_THROUGHPUT_OPTIONS } from './tables/offline-throughput-options.js';
import { ONE_BATCH_OPTIONS } from './tables/one-batch-options.js';
import { ONE_BATCH_SERVER_OPTIONS } from './tables/one-batch-server-options.js';
import { PROFILER_OPTIONS } from './tables/profiler-options.js';
import { SEND_ONE_OPTIONS } from './tables/send-one-options.js';
import { SERVER_OPTIONS } from './tables/server-options.js';
import {
  MULTIMODAL_BENCH_FLAGS,
  UNSUPPORTED_BENCH_SERVING_FLAGS,
  UNSUPPORTED_SERVER_FLAGS,
} from './tables/sglang-flags.js';
import { MERGE_TRACES_OPTIONS, TRACE_SUMMARY_OPTIONS } from './tables/trace-options.js';

export const LAUNCH_SERVER: Program<typeof SERVER_OPTIONS> = {
  name: 'launch-server',
  summary: 'Serve a model over HTTP: /generate and the OpenAI routes.',
  options: SERVER_OPTIONS,
  unsupported: UNSUPPORTED_SERVER_FLAGS,
  examples: ['vitrine launch-server --model-path models/stories260K --port 30000'],
};

export const GENERATE: Program<typeof GENERATE_OPTIONS> = {
  name: 'generate',
  summary: 'Continue one prompt in this process and stream the text to the terminal.',
  options: GENERATE_OPTIONS,
  unsupported: UNSUPPORTED_SERVER_FLAGS,
  examples: [
    'vitrine generate --model-path models/stories260K --prompt "Once upon a time" --max-new-tokens 200',
    'echo "Once upon a time" | vitrine generate --model-path models/stories260K --temperature 0',
  ],
};

/** The rows of launch-server that are not in a program's own table. */
function otherServerOptions(own: readonly Option[]): readonly Option[] {
  const flags = new Set(own.map(({ flag }) => flag));
  return SERVER_OPTIONS.filter((option: Option) => !flags.has(option.flag));
}

export const BENCH_ONE_BATCH: Program<typeof ONE_BATCH_OPTIONS> = {
  name: 'bench-one-batch',
  summary: 'Time the prefill and decode steps of one static batch, without a server.',
  options: ONE_BATCH_OPTIONS,
  inert: {
    options: otherServerOptions(ONE_BATCH_OPTIONS),
    reason: 'they cannot matter without a scheduler and a server, and a warning says so.',
  },
  unsupported: UNSUPPORTED_SERVER_FLAGS,
  examples: [
    'vitrine bench-one-batch --model-path models/stories260K --batch-size 1 8 32 --input-len 128 --output-len 32',
    'vitrine bench-one-batch --model-path DIR --load-format dummy --json-model-override-args \'{"num_hidden_layers": 2}\'',
    'vitrine bench-one-batch --model-path models/stories260K --batch-size 8 --input-len 128 --output-len 32 --profile',
  ],
};

export const BENCH_ONE_BATCH_SERVER: Program<typeof ONE_BATCH_SERVER_OPTIONS> = {
  name: 'bench-one-batch-server',
  summary: 'Time a static batch as one request to a server, launched for it or running.',
  options: ONE_BATCH_SERVER_OPTIONS,
  // Without effect in SGLang too.
  unsupported: [...UNSUPPORTED_SERVER_FLAGS, 'input-len-step-percentage'],
  examples: [
    'vitrine bench-one-batch-server --model-path models/stories260K --batch-size 1 8 --input-len 128 --output-len 32 --show-report',
    'vitrine bench-one-batch-server --base-url http://127.0.0.1:30000 --batch-size 32 --input-len 256 --output-len 32',
  ],
};

export const BENCH_OFFLINE_THROUGHPUT: Program<typeof OFFLINE_THROUGHPUT_OPTIONS> = {
  name: 'bench-offline-throughput',
  summary: 'Give an engine in this process all requests of a dataset at once and measure its throughput.',
  options: OFFLINE_THROUGHPUT_OPTIONS,
  inert: {
    options: otherServerOptions(OFFLINE_THROUGHPUT_OPTIONS),
    reason: 'they cannot matter without a server, and a warning says so.',
  },
  unsupported: UNSUPPORTED_SERVER_FLAGS,
  examples: [
    'vitrine bench-offline-throughput --model-path models/stories260K --dataset-name random --num-prompts 100 --random-input 128 --random-output 64',
    'vitrine bench-offline-throughput --model-path DIR --dataset-path sharegpt.json --num-prompts 10 --profile --profile-output-dir profiles',
  ],
};

export const BENCH_SERVING: Program<typeof BENCH_SERVING_OPTIONS> = {
  name: 'bench-serving',
  summary: 'Send requests to a running server and measure latencies and throughput.',
  options: BENCH_SERVING_OPTIONS,
  unsupported: UNSUPPORTED_BENCH_SERVING_FLAGS,
  multimodal: MULTIMODAL_BENCH_FLAGS,
  examples: [
    'vitrine bench-serving --backend sglang --dataset-name random --num-prompts 64 --random-input 128 --random-output 64',
    'vitrine bench-serving --backend vllm --base-url http://127.0.0.1:8000 --dataset-path sharegpt.json --request-rate 4',
  ],
};

export const BENCH_COMPARE: Program<typeof BENCH_COMPARE_OPTIONS> = {
  name: 'bench-compare',
  summary: 'Compare files of benchmark results, and say which differences exceed the spread of runs.',
  options: BENCH_COMPARE_OPTIONS,
  unsupported: [],
  examples: [
    'vitrine bench-compare before.jsonl after.jsonl',
    'vitrine bench-compare a.jsonl b.jsonl --metrics output_throughput p99_ttft_ms --fail-on-regression 5',
  ],
};

export const PROFILER: Program<typeof PROFILER_OPTIONS> = {
  name: 'profiler',
  summary: 'Have a running server record its next steps, and wait for the trace files.',
  options: PROFILER_OPTIONS,
  unsupported: [],
  examples: [
    'vitrine profiler --num-steps 10 --output-dir profiles',
    'vitrine profiler --url http://127.0.0.1:30000 --num-steps 5 --profile-by-stage --no-wait',
  ],
};

export const SEND_ONE: Program<typeof SEND_ONE_OPTIONS> = {
  name: 'send-one',
  summary: 'Send one request to a running server and say how fast it was answered.',
  options: SEND_ONE_OPTIONS,
  unsupported: [],
  multimodal: ['image', 'many-images'],
  examples: ['vitrine send-one', 'vitrine send-one --batch-size 8 --max-new-tokens 64 --profile'],
};

export const MERGE_TRACES: Program<typeof MERGE_TRACES_OPTIONS> = {
  name: 'merge-traces',
  summary: 'Merge the trace files of the ranks of a profile into one file per stage.',
  options: MERGE_TRACES_OPTIONS,
  unsupported: [],
  examples: [
    'vitrine merge-traces profiles/',
    'vitrine merge-traces a-TP-0.trace.json.gz a-TP-1.trace.json.gz --output a.trace.json.gz',
  ],
};

export const TRACE_SUMMARY: Program<typeof TRACE_SUMMARY_OPTIONS> = {
  name: 'trace-summary',
  summary: 'Say where the time of a trace went: steps, gaps, ops, layers.',
  options: TRACE_SUMMARY_OPTIONS,
  unsupported: [],
  examples: ['vitrine trace-summary profiles/1769071195.66-TP-0.trace.json.gz --top 10'],
};

export const PROGRAMS: readonly Program[] = [
  LAUNCH_SERVER,
  GENERATE,
  BENCH_ONE_BATCH,
  BENCH_ONE_BATCH_SERVER,
  BENCH_OFFLINE_THROUGHPUT,
  BENCH_SERVING,
  BENCH_COMPARE,
  PROFILER,
  SEND_ONE,
  MERGE_TRACES,
  TRACE_SUMMARY,
];

/** SGLang programs without a counterpart here, with dashes. */
export const UNSUPPORTED_PROGRAMS: readonly string[] = ['launch-router'];
