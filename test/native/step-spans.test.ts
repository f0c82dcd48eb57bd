// The spans that come back with a step: whole, nested, of the right ops and threads, and only where they were asked for.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadAddon } from '#vitrine/native/load.js';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from '../support/native-engine.js';
import { type RawStepOutput, rawForwardBatch } from '../support/raw-forward-batch.js';
import { type ReadChunk, type ReadSpan, readSpans } from '../support/span-records.js';

const PROFILE = { header: { profile: 1 } };
const FRAMES = 'user_annotation';
const DENSE_OPS = [
  ...['input_layernorm', 'qkv_proj', 'rotary_emb', 'attn', 'o_proj', 'post_attention_layernorm'],
  ...['gate_up_proj', 'act_fn', 'down_proj'],
];
const prompt = (count: number) => Array.from({ length: count }, (_, i) => (i * 7) % 300);

function spansOf(engine: TestEngine, output: RawStepOutput): ReadChunk {
  assert.ok(output.spans, 'the step brought no spans');
  const chunk = readSpans(output.spans, engine.engine.spanTables().names);
  assert.equal(chunk.dropped, 0);
  const length = Number(output.nanoseconds('end') - chunk.baseNs);
  const start = Number(output.nanoseconds('start') - chunk.baseNs);
  for (const thread of new Set(chunk.spans.map((span) => span.thread))) {
    const open: ReadSpan[] = [];
    let last = start;
    for (const span of chunk.spans.filter((each) => each.thread === thread)) {
      assert.ok(span.begin > last, `${span.name} does not begin after ${last}`);
      assert.ok(span.begin <= span.end && span.end <= length, `${span.name} ends at ${span.end} of ${length}`);
      last = span.begin;
      while (open.length > 0 && open.at(-1)!.end <= span.begin) open.pop();
      assert.ok(open.length === 0 || span.end <= open.at(-1)!.end, `${span.name} sticks out of ${open.at(-1)?.name}`);
      open.push(span);
    }
  }
  return chunk;
}

const onEngine = ({ spans }: ReadChunk) => spans.filter((span) => span.thread === 0);

/** Engine spans that lie in no other. */
function topSpans(chunk: ReadChunk): ReadSpan[] {
  let end = 0;
  return onEngine(chunk).filter((span) => {
    const outside = span.begin >= end;
    if (outside) end = span.end;
    return outside;
  });
}

describe('spans of a step', () => {
  it('come only with steps that ask for them', async () => {
    const engine = await TestEngine.load('tiny-llama-tied');
    const sequence = new TestSequence(0, engine.blocksFor(0, 64));
    assert.equal((await engine.step([sequence.next(prompt(5))])).spans, null);
    assert.ok((await engine.step([sequence.decode()], PROFILE)).spans);
    assert.equal((await engine.step([sequence.decode()])).spans, null);
    engine.close();
  });

  it('account for the whole step without a gap, from one decode to a long prompt', async () => {
    const engine = await TestEngine.load('tiny-llama-tied');
    const sequence = new TestSequence(0, engine.blocksFor(0, 256));
    for (const tokens of [prompt(120), [-1], [-1], prompt(50)]) {
      const output = await engine.step([sequence.next(tokens)], PROFILE);
      const chunk = spansOf(engine, output);
      const top = topSpans(chunk);
      assert.deepEqual(
        top.map((span) => span.name),
        ['validate_batch', 'lay_out_output', 'plan_sampling', 'forward', 'sample'],
      );
      const covered = top.reduce((sum, span) => sum + span.end - span.begin, 0);
      const wall = Number(output.nanoseconds('end') - output.nanoseconds('start'));
      assert.ok(covered >= 0.98 * wall, `${covered} of ${wall} ns`);
    }
    engine.close();
  });

  it('name layers, blocks and ops, with shapes and bytes', async () => {
    const model = await prepareReferenceModel('tiny-llama-tied', { dtype: 'float32' });
    const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize, layers } = model.spec;
    const engine = new TestEngine(model);
    const sequences = [0, 1].map((slot) => new TestSequence(slot, engine.blocksFor(slot, 64)));
    await engine.step([sequences[0]!.next(prompt(9))]);
    const output = await engine.step([sequences[0]!.decode(), sequences[1]!.next(prompt(4))], PROFILE);
    const spans = onEngine(spansOf(engine, output));
    const last = layers.length - 1;
    for (let layer = 0; layer <= last; layer++) {
      const ofLayer = spans.filter((span) => span.layer === layer);
      const ops = ofLayer.filter((span) => span.category === 'cpu_op').map((span) => span.name);
      assert.deepEqual(ops, DENSE_OPS);
      assert.deepEqual(
        ofLayer.filter((span) => span.category === FRAMES).map((span) => [span.name, span.module]),
        [
          [`layers.${layer}`, `model.layers.${layer}`],
          ['self_attn', `model.layers.${layer}.self_attn`],
          ['mlp', `model.layers.${layer}.mlp`],
        ],
      );
    }
    const find = (module: string) => spans.find((span) => span.module === module);
    const qkv = (numHeads + 2 * numKvHeads) * headDim;
    const qkvSpan = find('model.layers.0.self_attn.qkv_proj');
    const inputs = [
      [5, hiddenSize],
      [qkv, hiddenSize],
    ];
    assert.deepEqual(qkvSpan?.shapes, inputs);
    assert.equal(qkvSpan?.bytes, 4 * (5 * hiddenSize + qkv * hiddenSize + 5 * qkv));
    assert.deepEqual(find(`model.layers.${last}.mlp.act_fn`)?.shapes, [[2, 2 * intermediateSize]]);
    const attention = find('model.layers.1.self_attn.attn');
    assert.deepEqual(attention?.shapes, [[5, numHeads, headDim]]);
    assert.equal(attention?.kvTokens, 10 + 4);
    assert.equal(attention?.bytes, 4 * (2 * 5 * numHeads * headDim + 14 * 2 * numKvHeads * headDim));
    assert.deepEqual(find('model.embed_tokens')?.shapes, [[5, hiddenSize]]);
    const head = [
      [2, hiddenSize],
      [vocabSize, hiddenSize],
    ];
    assert.deepEqual(find('lm_head')?.shapes, head);
    assert.equal(spans.filter((span) => span.name === 'gather_rows').length, 1);
    engine.close();
  });

  it('name the parts of a mixture of experts as its checkpoint does', async () => {
    const engine = await TestEngine.load('tiny-mixtral');
    const sequence = new TestSequence(0, engine.blocksFor(0, 64));
    const spans = onEngine(spansOf(engine, await engine.step([sequence.next(prompt(3))], PROFILE)));
    const modules = spans
      .map((span) => span.module)
      .filter((path) => path.startsWith('model.layers.1.block_sparse_moe'));
    const prefix = 'model.layers.1.block_sparse_moe';
    assert.deepEqual(modules, [prefix, `${prefix}.gate`, `${prefix}.topk`, `${prefix}.experts`]);
    // The CPU has chosen before: 2 to 4 of the 4 experts, each with its three matrices.
    const experts = spans.find((span) => span.module === `${prefix}.experts`)!;
    const [rows, hidden, inner] = [3, 64, 96];
    assert.deepEqual(experts.shapes, [[rows, hidden]]);
    assert.equal(experts.flops, rows * 2 * 2 * 3 * hidden * inner);
    const used = (experts.bytes - rows * 2 * hidden * 4) / (4 * 3 * hidden * inner);
    assert.ok(Number.isInteger(used) && used >= 2 && used <= 4, `${used} experts`);
    engine.close();
  });

  it('leave out what does not run: a chunk without logits ends with the last K and V', async () => {
    const engine = await TestEngine.load('tiny-llama-tied');
    const sequence = new TestSequence(0, engine.blocksFor(0, 64));
    const chunk = spansOf(engine, await engine.step([sequence.next(prompt(9), { rows: [] })], PROFILE));
    const names = onEngine(chunk).map((span) => span.name);
    assert.equal(names.filter((name) => name === 'rotary_emb').length, names.filter((n) => n === 'attn').length + 1);
    for (const absent of ['norm', 'lm_head', 'sample']) assert.equal(names.includes(absent), false, absent);
    engine.close();
  });

  it('come from every thread that took part, each with its kernel thread', async () => {
    const engine = await TestEngine.load('tiny-llama-tied', { cpuThreads: 3 });
    const { threads } = engine.engine.spanTables();
    assert.deepEqual(
      threads.map(({ name }) => name),
      ['vitrine-engine', 'vitrine-cpu1', 'vitrine-cpu2'],
    );
    for (const { tid, name } of threads) {
      assert.equal(readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim(), name);
    }
    // How many workers are quick enough to get a share of a loop is up to the kernel; in many long steps some are.
    const seen = new Set<number>();
    for (let i = 0; i < 200 && seen.size < 3; i++) {
      const sequence = new TestSequence(0, engine.blocksFor(0, 256));
      const chunk = spansOf(engine, await engine.step([sequence.next(prompt(250))], PROFILE));
      const ops = new Set(onEngine(chunk).map((span) => `${span.name} ${span.layer}`));
      for (const span of chunk.spans.filter(({ thread }) => thread > 0)) {
        seen.add(span.thread);
        assert.equal(span.category, 'cpu_op');
        assert.ok(ops.has(`${span.name} ${span.layer}`), `${span.name} of layer ${span.layer} is no op of the step`);
      }
      seen.add(0);
    }
    assert.ok(seen.size > 1, 'no worker took part in anything');
    engine.close();
  });

  it('do not come with a step that fails', async () => {
    const model = await prepareReferenceModel('tiny-llama-tied', { dtype: 'float32' });
    const results: [string | undefined, unknown, unknown][] = [];
    await new Promise<void>((resolve) => {
      const config = { device: 'cpu', spec: model.spec, cpuThreads: 1, cpuIsa: 'auto' } as const;
      const engine = new (loadAddon().Engine)(config, (error, output, spans) => {
        results.push([error?.message, output, spans]);
        if (results.length === 2) {
          engine.close();
          resolve();
        }
      });
      assert.throws(() => engine.spanTables(), /^Error: spanTables: call loadWeights and initCache first$/);
      engine.loadWeights(model.loadPlan);
      engine.initCache({ numBlocks: 4, blockSize: 16, maxRequests: 1, maxBatchTokens: 16, maxContextLength: 64 });
      const bad = { slot: 0, start: 0, tokens: [100_000], blocks: [1] };
      for (let i = 0; i < 2; i++) engine.submit(rawForwardBatch([bad], { blockSize: 16, ...PROFILE }));
    });
    assert.match(results[0]![0]!, /tokenIds\[0\]/);
    assert.match(results[1]![0]!, /the engine is dead/);
    for (const [, output, spans] of results) assert.deepEqual([output, spans], [null, null]);
  });
});
