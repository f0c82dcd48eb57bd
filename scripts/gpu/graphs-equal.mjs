// The same requests with CUDA graphs and without: tokens and log-probabilities must be the same, bit for bit. Prints one
// JSON object.   node scripts/gpu/graphs-equal.mjs --device cuda --model DIR [--dtype D] [--without KEY]
import { parseArgs } from 'node:util';
import { Engine } from '../../dist/index.js';

/** Requests at a time: sizes of captured graphs and between them. */
const BATCHES = [1, 2, 3, 5, 8, 13, 24, 33];
const NEW_TOKENS = 40;

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    model: { type: 'string' },
    dtype: { type: 'string', default: 'bfloat16' },
    without: { type: 'string', default: 'disableCudaGraph' },
  },
});

async function outputs(settings) {
  const { model: modelPath, dtype, device } = options;
  const engine = await Engine.launch({ modelPath, dtype, device, logLevel: 'warn', randomSeed: 1, ...settings });
  try {
    const found = [];
    for (const size of BATCHES) {
      // All prompts fit in one step, so that both runs have the same steps.
      const generations = Array.from({ length: size }, (_, i) =>
        engine.generate({
          inputIds: Array.from({ length: 3 + (i % 5) }, (_, k) => 10 + ((size * 31 + i * 17 + k * 7) % 200)),
          samplingParams: {
            ...{ maxNewTokens: NEW_TOKENS, ignoreEos: true },
            ...(i % 2 === 0 ? { temperature: 0 } : { temperature: 0.8, topP: 0.9, seed: i }),
          },
          logprobs: {},
        }),
      );
      const results = await Promise.all(generations);
      found.push(
        ...results.map(({ tokenIds, outputLogprobs }, i) => ({
          case: `${i + 1} of ${size}`,
          tokenIds,
          outputLogprobs,
        })),
      );
    }
    return found;
  } finally {
    await engine.close();
  }
}

const graphs = await outputs({});
const eager = await outputs({ [options.without]: true });
const different = graphs.filter((each, i) => JSON.stringify(each) !== JSON.stringify(eager[i]));
console.log(JSON.stringify({ requests: graphs.length, different: different.map((each) => each.case) }));
process.exitCode = different.length === 0 ? 0 : 1;
