// Worker: Vitrine, as bench-one-batch runs it.
import { StaticBatch } from '../../dist/bench/one-batch/static-batch.js';
import { resolveOptions } from '../../dist/config/resolve-options.js';
import { SCHEDULER_OPTIONS } from '../../dist/config/tables/scheduler-options.js';
import { ModelRunner } from '../../dist/engine/model-runner.js';
import { prepareModel } from '../../dist/model/prepare-model.js';
import { loadAddon } from '../../dist/native/load.js';
import { silentLog } from '../../dist/util/log.js';
import { promptsOf, serve } from './worker.mjs';

let runner;
let vocab;

serve({
  async load({ directory, shape, threads, maxTokens, maxBatch, weightCacheDir }) {
    vocab = shape.vocab;
    const options = resolveOptions(SCHEDULER_OPTIONS, {
      modelPath: directory,
      device: 'cpu',
      dtype: shape.dtype,
      cpuThreads: threads,
      contextLength: shape.contextLength,
      maxTotalTokens: maxTokens,
      maxRunningRequests: maxBatch,
      chunkedPrefillSize: maxTokens,
      ...(weightCacheDir !== undefined && { weightCacheDir }),
    });
    const model = await prepareModel(options, silentLog);
    runner = ModelRunner.create({ addon: loadAddon(), model, options, log: silentLog });
  },

  async run({ batch, input, output }) {
    const sequences = new StaticBatch(runner, new Array(batch).fill(input + output));
    let mark = performance.now();
    const first = await sequences.extend(promptsOf({ batch, input }, vocab));
    const prefillMs = performance.now() - mark;
    const tokens = [first.sampledIds[0]];
    mark = performance.now();
    for (let step = 1; step < output; step++) tokens.push((await sequences.decode()).sampledIds[0]);
    return { prefillMs, decodeMs: performance.now() - mark, tokens };
  },

  close: () => runner?.close(),
});
