// NVTX ranges as a tool sees them: names, nesting and shapes in SGLang's dialect, every push with its pop.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { post } from '../support/http.js';
import { flatten, NVTX_SKIP, NvtxLog, type NvtxRange } from '../support/nvtx-log.js';
import { storiesServer } from '../support/server-process.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const SCENARIOS = fileURLToPath(new URL('../support/nvtx-scenarios.ts', import.meta.url));

async function scenario(t: TestContext, model: string, name: string): Promise<[NvtxRange[][], string]> {
  const log = new NvtxLog(await temporaryDirectory(t));
  const child = spawn(process.execPath, ['--import', 'tsx', SCENARIOS, model, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...log.env },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
  return [log.threads(), output];
}

/** A tree as indented lines, modules by their name. */
const outline = (ranges: readonly NvtxRange[], indent = ''): string[] =>
  ranges.flatMap(({ text, children }) => [
    indent + (/^\{'Module': '([^']+)'/.exec(text)?.[1] ?? text),
    ...outline(children, `${indent}  `),
  ]);

const layerOutline = (layer: string, mlp: readonly string[], last: boolean): string[] => [
  `      ${layer}`,
  `        ${layer}.input_layernorm`,
  `        ${layer}.self_attn`,
  ...['qkv_proj', 'rotary_emb', 'attn'].map((name) => `          ${layer}.self_attn.${name}`),
  ...(last ? ['          gather_rows'] : []),
  `          ${layer}.self_attn.o_proj`,
  `        ${layer}.post_attention_layernorm`,
  `        ${layer}.${mlp[0]}`,
  ...mlp.slice(1).map((name) => `          ${layer}.${mlp[0]}.${name}`),
];

function stepOutline(step: string, layers: number, mlp: readonly string[], gathers: boolean): string[] {
  const layer = (i: number) => layerOutline(`model.model.layers.${i}`, mlp, gathers && i === layers - 1);
  return [
    ...[step, '  validate_batch', '  lay_out_output', '  plan_sampling', '  model', '    plan_attention'],
    ...['    resolve_token_ids', '    model.model', '      model.model.embed_tokens'],
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
    ...['      model.model.norm', '    model.logits_processor', '      model.lm_head', '  sample'],
  ];
}

describe('NVTX ranges', { skip: NVTX_SKIP }, () => {
  it('are one for every module, step and phase, nested as in the model', async (t) => {
    const model = await prepareReferenceModel('tiny-llama-tied');
    const [threads] = await scenario(t, 'tiny-llama-tied', 'normal');
    assert.equal(threads.length, 1, 'all on the engine thread');
    const layers = model.spec.layers.length;
    const mlp = ['mlp', 'gate_up_proj', 'act_fn', 'down_proj'];
    assert.deepEqual(outline(threads[0]!), [
      ...stepOutline('step 1 mixed', layers, mlp, true),
      ...stepOutline('step 2 decode', layers, mlp, false),
    ]);
  });

  it('say parameters and input shapes as Python does', async (t) => {
    const { spec } = await prepareReferenceModel('tiny-llama-tied');
    const [threads] = await scenario(t, 'tiny-llama-tied', 'normal');
    const texts = new Set(flatten(threads[0]!.slice(0, 1)).map((range) => range.text));
    const { hiddenSize: h, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = spec;
    const [q, kv] = [numHeads * headDim, numKvHeads * headDim];
    const layer = 'model.model.layers.0';
    for (const text of [
      `{'Module': 'model', 'Inputs': [[5], [5]]}`,
      `{'Module': 'model.model.embed_tokens', 'TrainableParams': {'weight': [${vocabSize}, ${h}]}, 'Inputs': [[5]]}`,
      `{'Module': '${layer}', 'Inputs': [[5], [5, ${h}]]}`,
      `{'Module': 'model.model.layers.1', 'Inputs': [[5], [5, ${h}], [5, ${h}]]}`,
      `{'Module': '${layer}.input_layernorm', 'TrainableParams': {'weight': [${h}]}, 'Inputs': [[5, ${h}]]}`,
      `{'Module': '${layer}.self_attn'}`,
      `{'Module': '${layer}.self_attn.qkv_proj', 'TrainableParams': {'weight': [${q + 2 * kv}, ${h}]}, 'Inputs': [[5, ${h}]]}`,
      `{'Module': '${layer}.self_attn.rotary_emb', 'Inputs': [[5], [5, ${q}], [5, ${kv}]]}`,
      `{'Module': '${layer}.self_attn.attn', 'Inputs': [[5, ${q}], [5, ${kv}], [5, ${kv}]]}`,
      `{'Module': '${layer}.self_attn.o_proj', 'TrainableParams': {'weight': [${h}, ${q}]}, 'Inputs': [[5, ${q}]]}`,
      `{'Module': '${layer}.mlp.act_fn', 'Inputs': [[5, ${2 * intermediateSize}]]}`,
      `{'Module': 'model.lm_head', 'TrainableParams': {'weight': [${vocabSize}, ${h}]}, 'Inputs': [[1, ${h}]]}`,
    ]) {
      assert.ok(texts.has(text), `${text} is not among\n${[...texts].join('\n')}`);
    }
  });

  it('name a mixture of experts as its model class does', async (t) => {
    const { spec } = await prepareReferenceModel('tiny-mixtral');
    const [threads] = await scenario(t, 'tiny-mixtral', 'normal');
    const mlp = ['block_sparse_moe', 'gate', 'topk', 'experts'];
    const expected = stepOutline('step 2 decode', spec.layers.length, mlp, false);
    assert.deepEqual(outline(threads[0]!.slice(1)), expected);
    const { numExperts: e, topK: k, intermediateSize: i } = spec.layers[0]!.moe!;
    const h = spec.hiddenSize;
    const experts =
      `{'Module': 'model.model.layers.0.block_sparse_moe.experts', 'TrainableParams': ` +
      `{'w13_weight': [${e}, ${2 * i}, ${h}], 'w2_weight': [${e}, ${h}, ${i}]}, ` +
      `'Inputs': [[1, ${h}], [1, ${k}], [1, ${k}], [1, ${e}]]}`;
    assert.ok(flatten(threads[0]!.slice(1)).some(({ text }) => text === experts));
  });

  it('say biases, and q and k norms as part of the rotary embedding that they are computed with', async (t) => {
    const [biased] = await scenario(t, 'tiny-qwen2', 'normal');
    assert.ok(
      flatten(biased[0]!).some(({ text }) => /qkv_proj'.*'weight': \[\d+, \d+\], 'bias': \[\d+\]\}/.test(text)),
    );
    const [normed] = await scenario(t, 'tiny-qwen3', 'normal');
    const names = flatten(normed[0]!).map(({ text }) => text);
    assert.ok(names.some((text) => text.includes('self_attn.rotary_emb')));
    assert.equal(
      names.some((text) => /[qk]_norm/.test(text)),
      false,
    );
  });

  it('are closed when a step fails in the middle', async (t) => {
    const [threads, output] = await scenario(t, 'tiny-llama-tied', 'failing');
    assert.match(output, /every token of row 0 is suppressed.*\n.*the engine is dead/);
    const steps = threads[0]!.map(({ text }) => text);
    assert.deepEqual(steps, ['step 1 mixed', 'step 2 decode', 'step 3 mixed']);
    assert.equal(threads[0]![2]!.children.at(-1)?.text, 'sample');
  });

  it('come from JavaScript too, on its own thread', async (t) => {
    const [threads] = await scenario(t, 'tiny-llama-tied', 'javascript');
    assert.equal(threads.length, 2);
    assert.deepEqual(outline(threads[1]!), ['schedule "ü"', '  prefill']);
  });

  it('are not there without nvtxMarkers', async (t) => {
    assert.deepEqual((await scenario(t, 'tiny-llama-tied', 'silent'))[0], []);
  });

  it('come from a server that is told so, to the end of a step that fails', async (t) => {
    const log = new NvtxLog(await temporaryDirectory(t));
    const flags = ['--enable-layerwise-nvtx-marker', '--skip-server-warmup'];
    const server = storiesServer(t, flags, { ...log.env, VITRINE_FAIL_STEP: '4' });
    const url = await server.ready();
    await post(`${url}/generate`, { input_ids: [1, 2], sampling_params: { max_new_tokens: 50, ignore_eos: true } });
    assert.equal(await server.exited, 'code 1');
    const ranges = log.threads().flat();
    const steps = ranges.filter(({ text }) => text.startsWith('step '));
    assert.equal(steps.length, 4);
    for (const step of steps.slice(0, 3)) {
      const modules = flatten([step]).filter(({ text }) => text.startsWith("{'Module': 'model"));
      assert.equal(modules.length, 6 + 5 * 12, step.text);
    }
    assert.deepEqual(
      steps[3]!.children.map(({ text }) => text),
      ['validate_batch'],
    );
  });

  it('do not come from a server that is not told so', async (t) => {
    const log = new NvtxLog(await temporaryDirectory(t));
    const server = storiesServer(t, ['--skip-server-warmup'], log.env);
    const url = await server.ready();
    await post(`${url}/generate`, { input_ids: [1, 2], sampling_params: { max_new_tokens: 5 } });
    server.kill('SIGTERM');
    await server.exited;
    assert.deepEqual(log.threads(), []);
  });
});

describe('calls for tools', () => {
  const addon = loadAddon();

  it('ranges of JavaScript check their name, tool or not', () => {
    assert.throws(() => addon.rangePush(undefined as never), /^Error: name: expected a string, got undefined$/);
    addon.rangePush('a');
    addon.rangePop();
  });

  it('cudaProfilerStart and Stop work or say why not', () => {
    for (const name of ['cudaProfilerStart', 'cudaProfilerStop'] as const) {
      try {
        addon[name]();
      } catch (error) {
        const reason = 'cudaError\\w+ \\(\\d+\\): .+|no CUDA runtime library was found: .+';
        assert.match((error as Error).message, new RegExp(`^${name}: (${reason})$`));
      }
    }
  });
});
