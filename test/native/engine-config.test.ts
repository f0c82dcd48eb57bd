// Start-up objects are checked at the door: every complaint names the path, what was expected and what came.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LAYOUT_VERSION } from '#vitrine/engine/forward-batch-layout.js';
import type { LoadPlan, ParameterPlan } from '#vitrine/native/addon.js';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel } from '../reference/reference-files.js';

const addon = loadAddon();
const model = await prepareReferenceModel('tiny-mixtral', { dtype: 'float32' });
const tied = await prepareReferenceModel('tiny-llama-tied', { dtype: 'float32' });
const CONFIG = { device: 'cpu', spec: model.spec, cpuThreads: 1, cpuIsa: 'auto' };

/** A deep copy of `value` in which the property at `path` is replaced (or removed by undefined). */
function withValue<T>(value: T, path: readonly (string | number)[], replacement: unknown): T {
  const copy = JSON.parse(JSON.stringify(value)) as Record<string | number, unknown>;
  let parent = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string | number, unknown>;
  parent[path.at(-1)!] = replacement;
  return copy as T;
}

const CONFIG_CASES: readonly (readonly [path: readonly (string | number)[], value: unknown, message: string])[] = [
  [['device'], 'tpu', "config.device: expected one of cpu, cuda, got 'tpu'"],
  [['cpuThreads'], -1, 'config.cpuThreads: expected an integer from 0 to 1024, got -1'],
  [['cpuIsa'], 'sse', 'config.cpuIsa: expected one of auto, '],
  [['spec'], 5, 'config.spec: expected an object, got 5'],
  [['spec', 'vocabSize'], undefined, 'config.spec.vocabSize: expected an integer from 1 to 16777216, got undefined'],
  [['spec', 'hiddenSize'], 1.5, 'config.spec.hiddenSize: expected an integer from 1 to 16777216, got 1.5'],
  [['spec', 'numKvHeads'], 3, 'config.spec.numKvHeads: expected a divisor of numHeads (4), got 3'],
  [['spec', 'rmsNormEps'], 0, 'config.spec.rmsNormEps: expected a positive number, got 0'],
  [['spec', 'qkvBias'], 'no', "config.spec.qkvBias: expected true or false, got 'no'"],
  [['spec', 'activation'], 'relu', "config.spec.activation: expected one of silu, gelu, gelu_tanh, got 'relu'"],
  [['spec', 'dtype'], 'int8', "config.spec.dtype: expected one of float32, float16, bfloat16, got 'int8'"],
  [
    ['spec', 'kvCache', 'dtype'],
    'fp8_e5m2',
    "config.spec.kvCache.dtype: expected one of float32, float16, bfloat16, float8_e4m3fn, got 'fp8_e5m2'",
  ],
  [
    ['spec', 'kvCache'],
    { dtype: 'float8_e4m3fn', scales: [{ k: 1, v: 0 }] },
    'config.spec.kvCache.scales[0].v: expected a positive number, got 0',
  ],
  [
    ['spec', 'kvCache'],
    { dtype: 'float8_e4m3fn', scales: [{ k: 1, v: 1 }] },
    'config.spec.kvCache.scales: expected none, or for float8_e4m3fn one a layer (3), got 1 for float8_e4m3fn',
  ],
  [['spec', 'rope', 'rotaryDim'], 18, 'config.spec.rope.rotaryDim: expected an even number up to headDim (16), got 18'],
  [['spec', 'rope', 'invFreq'], [1], 'config.spec.rope.invFreq: expected 8 frequencies (rotaryDim / 2), got 1'],
  [['spec', 'rope', 'invFreq', 3], Number.NaN, 'config.spec.rope.invFreq[3]: expected a finite number, got NaN'],
  [['spec', 'rope', 'dynamicNtk'], {}, 'config.spec.rope.dynamicNtk.theta: expected a positive number, got undefined'],
  [['spec', 'layers'], [], 'config.spec.layers: expected at least one layer, got none'],
  [['spec', 'layers'], {}, 'config.spec.layers: expected an array, got an object'],
  [
    ['spec', 'layers', 2, 'slidingWindow'],
    -4,
    'config.spec.layers[2].slidingWindow: expected a non-negative integer, got -4',
  ],
  [['spec', 'layers', 1, 'moe', 'topK'], 9, 'config.spec.layers[1].moe.topK: expected at most numExperts (4), got 9'],
  [
    ['spec', 'layers', 0, 'moe', 'module'],
    undefined,
    'config.spec.layers[0].moe.module: expected a string, got undefined',
  ],
  [['spec', 'layers', 0, 'moe'], undefined, 'config.spec.layers[0].moe: expected an object, got undefined'],
];

function replaceParameter(
  plan: LoadPlan,
  name: string,
  change: (parameter: ParameterPlan) => ParameterPlan[],
): LoadPlan {
  assert.ok(plan.parameters.some((parameter) => parameter.name === name));
  return { ...plan, parameters: plan.parameters.flatMap((p) => (p.name === name ? change(p) : [p])) };
}

const changePiece = (plan: LoadPlan, name: string, change: object) =>
  replaceParameter(plan, name, (p) => [{ ...p, pieces: [{ ...p.pieces[0]!, ...change }, ...p.pieces.slice(1)] }]);

function loadError(plan: LoadPlan): string {
  const engine = new addon.Engine(CONFIG as never, () => {});
  try {
    engine.loadWeights(plan);
    return 'no error';
  } catch (error) {
    engine.loadWeights(model.loadPlan); // the engine is none the worse for it
    return (error as Error).message;
  } finally {
    engine.close();
  }
}

describe('engine config', () => {
  for (const [path, value, message] of CONFIG_CASES) {
    it(message, () => {
      assert.throws(
        () => new addon.Engine(withValue(CONFIG, path, value) as never, () => {}),
        (error: Error) => error.message.startsWith(message) || assert.fail(error.message),
      );
    });
  }

  it('needs a listener', () => {
    assert.throws(() => new addon.Engine(CONFIG as never, undefined as never), /onStep: expected a function/);
    assert.throws(() => (addon.Engine as unknown as () => void)(), TypeError);
  });

  it('cache sizes', () => {
    const engine = new addon.Engine(CONFIG as never, () => {});
    engine.loadWeights(model.loadPlan);
    const good = { numBlocks: 4, blockSize: 4, maxRequests: 1, maxBatchTokens: 4, maxContextLength: 16 };
    for (const key of Object.keys(good)) {
      assert.throws(() => engine.initCache({ ...good, [key]: 0 }), new RegExp(`config\\.${key}: expected .*, got 0`));
    }
    engine.close();
  });
});

describe('load plan', () => {
  const plan = model.loadPlan;
  const path = plan.files[0]!.path;

  it('missing, surplus and doubled parameters', () => {
    assert.equal(
      loadError(replaceParameter(plan, 'layers.1.experts.2.down_proj', () => [])),
      `parameter layers.1.experts.2.down_proj [64, ${model.spec.layers[0]!.moe!.intermediateSize}]: missing in the plan`,
    );
    assert.equal(
      loadError(replaceParameter(plan, 'norm', (p) => [p, { ...p, name: 'layers.9.norm' }])),
      'parameter layers.9.norm: the model has no such parameter',
    );
    assert.equal(loadError(replaceParameter(plan, 'norm', (p) => [p, p])), 'parameter norm: it is in the plan twice');
  });

  it('wrong shapes name the tensors', () => {
    const { pieces } = plan.parameters.find(({ name }) => name === 'layers.0.qkv_proj')!;
    const sources = pieces.map(({ source }) => source).join(', ');
    assert.equal(
      loadError(replaceParameter(plan, 'layers.0.qkv_proj', (p) => [{ ...p, cols: 32 }])),
      `parameter layers.0.qkv_proj (from ${sources}): expected shape [128, 64], got [128, 32]`,
    );
    assert.equal(
      loadError(changePiece(plan, 'layers.0.qkv_proj', { rows: 1 })),
      `parameter layers.0.qkv_proj (from ${sources}): expected pieces of 128 rows in all, got ${129 - pieces[0]!.rows}`,
    );
  });

  it('bytes outside the file', () => {
    const { bytes } = plan.files[0]!;
    assert.ok(
      loadError(changePiece(plan, 'embed_tokens', { offset: bytes - 4 })).startsWith(
        `${path}: tensor model.embed_tokens.weight (512 rows of 128 bytes at offset ${bytes - 4}) ends outside`,
      ),
    );
    assert.match(
      loadError(changePiece(plan, 'norm', { file: 7 })),
      /pieces\[0\]\.file: expected .* from -1 to 0, got 7/,
    );
    assert.match(loadError(changePiece(plan, 'norm', { offset: -1 })), /plan\.parameters\[\d+\]\.pieces\[0\]\.offset/);
  });

  it('a file that is gone or has changed', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vitrine-load-'));
    try {
      const file = join(folder, 'model.safetensors');
      assert.match(loadError({ ...plan, files: [{ path: file, bytes: 10 }] }), /cannot open .*: No such file/);
      await writeFile(file, 'short');
      assert.equal(
        loadError({ ...plan, files: [{ path: file, bytes: 10 }] }),
        `${file}: expected a file of 10 bytes (as when its header was read), got 5 bytes`,
      );
      assert.match(
        loadError({ ...plan, files: [{ path: folder, bytes: 10 }] }),
        /expected a file of 10 bytes .*, got something else/,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('tied embeddings are held once', () => {
    const engine = new addon.Engine({ ...CONFIG, spec: tied.spec } as never, () => {});
    engine.loadWeights(tied.loadPlan);
    const { vocabSize, hiddenSize } = tied.spec;
    const elements = tied.loadPlan.parameters.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
    assert.ok(engine.memoryInfo().weightBytes < 4 * (elements + (vocabSize * hiddenSize) / 2));
    engine.close();
  });
});

describe('what the addon says of itself', () => {
  it('build and machine', () => {
    const build = addon.buildInfo();
    assert.equal(build.layoutVersion, LAYOUT_VERSION);
    assert.match(build.version, /^\d+\.\d+\.\d+/);
    assert.ok(build.compiler.length > 0 && build.buildType.length > 0 && build.cpuIsas.includes('avx2'));
    const [device] = addon.devices();
    assert.equal(device!.kind, 'cpu');
    assert.ok(device!.name.length > 0 && device!.threads >= 1 && device!.totalBytes > 1 << 28);
  });

  it('machine limits are plausible', () => {
    const limits = addon.machineLimits(0.05);
    assert.ok(limits.threads >= 1);
    assert.ok(limits.readBytesPerSecond > 1e8 && limits.readBytesPerSecond < 1e13, `${limits.readBytesPerSecond} B/s`);
    assert.ok(limits.float32FlopsPerSecond > 1e9 && limits.float32FlopsPerSecond < 1e14);
    const { bfloat16FlopsPerSecond: bfloat16 } = limits;
    assert.ok(bfloat16 === 0 || (bfloat16 > 1e9 && bfloat16 < 1e15), `${bfloat16} FLOP/s`);
    assert.equal(addon.machineLimits(0.05, 1).threads, 1);
    assert.throws(() => addon.machineLimits(0), /seconds: expected a positive number, got 0/);
    assert.throws(() => addon.machineLimits(0.05, -1), /threads: expected an integer from 0 to 4096, got -1/);
  });
});
