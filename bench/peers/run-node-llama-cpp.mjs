// Worker: node-llama-cpp. Its sequences run side by side and it joins what they ask for into batches.
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { promptsOf, serve } from './worker.mjs';

let model;
let threads;
let context;
let sequences = [];

/** A context for `batch` sequences of `length` tokens; kept for the next run of the same kind. */
async function sequencesFor(batch, length) {
  if (context !== undefined && sequences.length === batch && context.contextSize >= length) {
    for (const sequence of sequences) await sequence.clearHistory();
    return sequences;
  }
  await context?.dispose();
  context = await model.createContext({ contextSize: length, sequences: batch, threads });
  sequences = Array.from({ length: batch }, () => context.getSequence());
  return sequences;
}

serve({
  async load(settings) {
    threads = settings.threads;
    const llama = await getLlama({
      gpu: false,
      build: 'never',
      maxThreads: threads,
      logLevel: LlamaLogLevel.error,
    });
    model = await llama.loadModel({ modelPath: settings.gguf });
    model.vocab = settings.shape.vocab;
  },

  async run({ batch, input, output }) {
    const prompts = promptsOf({ batch, input }, model.vocab);
    const all = await sequencesFor(batch, input + output + 1);
    const streams = all.map((sequence, i) => sequence.evaluate(prompts[i], { temperature: 0, yieldEogToken: true }));
    let mark = performance.now();
    const first = await Promise.all(streams.map((stream) => stream.next()));
    const prefillMs = performance.now() - mark;
    const tokens = [first[0].value];
    mark = performance.now();
    await Promise.all(
      streams.map(async (stream, i) => {
        for (let step = 1; step < output; step++) {
          const { value, done } = await stream.next();
          if (done) throw new Error(`the answer ended after ${step} of ${output} tokens`);
          if (i === 0) tokens.push(value);
        }
      }),
    );
    const decodeMs = performance.now() - mark;
    await Promise.all(streams.map((stream) => stream.return()));
    return { prefillMs, decodeMs, tokens };
  },

  close: () => context?.dispose(),
});
