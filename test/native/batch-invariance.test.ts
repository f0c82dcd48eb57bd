// The same prompt gives bit-identical logits alone, in any batch, with any chunking, on any number of threads, and with
// a prefix that another request computed.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { REQUEST_FLAG } from '#vitrine/engine/forward-batch-layout.js';
import type { PreparedModel } from '#vitrine/model/prepare-model.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel, REFERENCE_MODELS, readReference } from '../reference/reference-files.js';
import { type EngineSettings, TestEngine, TestSequence } from '../support/native-engine.js';
import type { RawRequest } from '../support/raw-forward-batch.js';

const DECODE_STEPS = 3;
const OTHERS = 31;
const FLAGS = REQUEST_FLAG.returnLogits;

interface Scenario {
  readonly engine: TestEngine;
  readonly prompt: readonly number[];
  readonly sequence: TestSequence;
  /** Tokens of one prefill step. */
  readonly chunk?: number;
  /** What else is in the batch of a step. */
  readonly others?: (step: number) => RawRequest[];
}

/** Logits after the prompt and after each of three greedy tokens, as words, so that -0 and NaN compare as bits. */
async function run({ engine, prompt, sequence, chunk = prompt.length, others = () => [] }: Scenario) {
  const rows: Int32Array[] = [];
  let step = 0;
  const go = async (request: RawRequest): Promise<void> => {
    const before = others(step);
    const row = before.reduce((count, { rows, tokens }) => count + (rows?.length ?? Math.min(1, tokens.length)), 0);
    step += 1;
    const output = await engine.step([...before, request, ...others(-step)]);
    if (request.rows?.length !== 0) rows.push(new Int32Array(output.logits(row).buffer));
  };
  while (sequence.length < prompt.length) {
    const tokens = prompt.slice(sequence.length, sequence.length + chunk);
    const isLast = sequence.length + tokens.length === prompt.length;
    await go(sequence.next(tokens, isLast ? { flags: FLAGS } : { flags: FLAGS, rows: [] }));
  }
  for (let i = 0; i < DECODE_STEPS; i++) await go(sequence.decode({ flags: FLAGS }));
  return rows;
}

/** 31 other requests in slots 1 to 31: prompts of all sizes first, then decoding, some asking for rows in the middle. */
function otherRequests(engine: TestEngine, prompt: readonly number[]): (step: number) => RawRequest[] {
  const sequences = Array.from({ length: OTHERS }, (_, i) => new TestSequence(i + 1, engine.blocksFor(i + 1, 160)));
  return (step) => {
    const half = step >= 0 ? sequences.slice(0, 17) : sequences.slice(17);
    return half.map((sequence) => {
      const samples = sequence.slot % 2 === 0;
      if (samples && sequence.length > 0 && sequence.slot % 3 !== 0) return sequence.decode();
      const tokens = prompt.slice(sequence.slot, sequence.slot + 1 + (sequence.slot % 8));
      return sequence.next(tokens, samples ? {} : { rows: [[0, 5]] });
    });
  };
}

function suite(
  name: string,
  settings: EngineSettings,
  dtype: 'float32' | 'bfloat16',
  eight: { readonly kvCacheDtype?: 'fp8_e4m3'; readonly quantization?: 'fp8' } = {},
): void {
  describe([name, dtype, settings.cpuIsa, ...Object.entries(eight).flat()].join(' '), async () => {
    const prompt = readReference(name).cases.find(({ prompt_len }) => prompt_len === 130)!.prompt_ids;
    const size = prompt.length + DECODE_STEPS;
    const model: PreparedModel = await prepareReferenceModel(name, { dtype, ...eight });
    const withEngine = async <T>(more: EngineSettings, use: (engine: TestEngine) => Promise<T>): Promise<T> => {
      const engine = new TestEngine(model, { numBlocks: 400, ...settings, ...more });
      try {
        return await use(engine);
      } finally {
        engine.close();
      }
    };
    const alone = (engine: TestEngine, chunk?: number) =>
      run({
        engine,
        prompt,
        sequence: new TestSequence(0, engine.blocksFor(0, size)),
        ...(chunk === undefined ? {} : { chunk }),
      });
    const expected = await withEngine({ cpuThreads: 1 }, (engine) => alone(engine));

    it('two threads', () => withEngine({}, async (engine) => assert.deepEqual(await alone(engine), expected)));

    it('any chunking', () =>
      withEngine({}, async (engine) => {
        for (const chunk of [1, 7, 16, 33, 64, 129]) {
          assert.deepEqual(await alone(engine, chunk), expected, `chunks of ${chunk}`);
        }
      }));

    it('another block size', () =>
      withEngine({ blockSize: 4, numBlocks: 1600 }, async (engine) =>
        assert.deepEqual(await alone(engine, 50), expected),
      ));

    it('among 31 mixed requests', () =>
      withEngine({}, async (engine) => {
        for (const chunk of [130, 40]) {
          const sequence = new TestSequence(0, engine.blocksFor(0, 160));
          const others = otherRequests(engine, prompt);
          assert.deepEqual(await run({ engine, prompt, sequence, chunk, others }), expected, `chunks of ${chunk}`);
        }
      }));

    it('with a prefix that another request computed', () =>
      withEngine({}, async (engine) => {
        const first = new TestSequence(0, engine.blocksFor(0, 160));
        await run({ engine, prompt, sequence: first });
        const shared = 64 / engine.blockSize;
        const own = engine.blocksFor(1, 160);
        const second = new TestSequence(1, [...first.blocks.slice(0, shared), ...own.slice(shared)]);
        second.length = 64;
        const rows = await run({ engine, prompt, sequence: second });
        assert.deepEqual(rows, expected);
      }));
  });
}

for (const cpuIsa of loadAddon().buildInfo().cpuIsas) {
  for (const name of REFERENCE_MODELS) suite(name, { cpuIsa }, 'float32');
  for (const name of ['tiny-qwen3', 'tiny-mixtral']) suite(name, { cpuIsa }, 'bfloat16');
  for (const name of ['tiny-qwen3', 'tiny-mistral-sw']) {
    suite(name, { cpuIsa }, 'float32', { kvCacheDtype: 'fp8_e4m3' });
  }
  suite('tiny-qwen3', { cpuIsa }, 'bfloat16', { quantization: 'fp8' });
}
