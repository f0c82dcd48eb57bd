// Vitrine beside its peers: the same weights, the same prompts, two threads each, in turn.
//
//   npm run bench:peers -- [--models 1b,160m,260k] [--workloads 1x256,1x2048,8x256,32x256] [--output N] [--rounds N]
//                          [--loads N] [--threads N] [--weight-cache] [--models-directory DIR] [--json FILE]
//
// Every engine is a process of its own that stays loaded; a round runs a workload once on each, one after the other, and the
// ratio is taken round by round. The machine's limits are measured before and after each workload in a process of their own.
// Loading has rounds of its own, each in a new process; `--workloads none` measures nothing else.
// --weight-cache adds Vitrine with --weight-cache-dir: its first load, which writes the file, and the later ones that map it.
// PEERS_PYTHON names a Python with torch and transformers; without it that column is left out.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeModel } from './make-models.mjs';
import { decodeWork, prefillWork, SHAPES } from './model-shapes.mjs';

const here = (file) => fileURLToPath(new URL(file, import.meta.url));

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: '1b,160m,260k' },
    workloads: { type: 'string', default: '1x256,1x2048,8x256,32x256' },
    output: { type: 'string', default: '33' },
    rounds: { type: 'string', default: '5' },
    loads: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    'weight-cache': { type: 'boolean', default: false },
    'models-directory': { type: 'string', default: join(tmpdir(), 'vitrine-peer-models') },
    json: { type: 'string' },
  },
});
const threads = Number(values.threads);
const output = Number(values.output);
const rounds = Number(values.rounds);
const loads = Number(values.loads);
const workloads = (values.workloads === 'none' ? [] : values.workloads.split(',')).map((text) => {
  const [batch, input] = text.split('x').map(Number);
  return { name: text, batch, input, output };
});
for (const model of values.models.split(',')) {
  if (!(model in SHAPES)) throw new Error(`--models: expected some of ${Object.keys(SHAPES)}, got ${model}`);
}

/** Real-time scheduling puts each new thread on an idle core: without it llama.cpp's two may share one. */
const mayRealTime = spawnSync('chrt', ['-r', '1', 'true']).status === 0;
const python = process.env.PEERS_PYTHON;
const weightCacheDir = join(values['models-directory'], 'weight-cache');
const OURS = { name: 'vitrine', ours: true, command: [process.execPath, here('run-vitrine.mjs')] };
const CACHED = [
  {
    ...OURS,
    name: 'vitrine, writing its cache',
    settings: { weightCacheDir },
    beforeLoad: () => rmSync(weightCacheDir, { recursive: true, force: true }),
    loadsOnly: true,
  },
  { ...OURS, name: 'vitrine, mapping its cache', settings: { weightCacheDir } },
];
const ENGINES = [
  OURS,
  ...(values['weight-cache'] ? CACHED : []),
  {
    name: 'node-llama-cpp',
    command: [...(mayRealTime ? ['chrt', '-r', '1'] : []), process.execPath, here('run-node-llama-cpp.mjs')],
    missing: existsSync(here('node_modules/node-llama-cpp')) ? undefined : 'not installed: npm install in bench/peers',
  },
  {
    name: 'transformers',
    command: [python ?? 'python3', here('run-transformers.py')],
    missing: python === undefined ? 'PEERS_PYTHON names no Python with torch' : undefined,
  },
];

class Engine {
  #child;
  #waiting = [];
  #errors = '';

  constructor({ name, command, settings }) {
    this.name = name;
    this.settings = settings;
    this.#child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], cwd: here('.') });
    this.#child.stderr.on('data', (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (line.startsWith('{')) this.#waiting.shift()?.resolve(JSON.parse(line));
    });
    this.#child.on('exit', (code) => {
      const error = new Error(`${name} ended (exit ${code}): ${this.#errors}`);
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    });
  }

  async ask(message) {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
    const answer = await new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    if (answer.error !== undefined) throw new Error(`${this.name}: ${answer.error}`);
    return answer;
  }

  async close() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await gone;
  }
}

/** { read (bytes/s), float32, bfloat16 (operations/s) } of this moment. */
function measureLimits() {
  const code = `import('${here('../../dist/native/load.js')}').then(({ loadAddon }) => console.log(JSON.stringify(loadAddon().machineLimits(1))))`;
  const { stdout } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  const limits = JSON.parse(stdout);
  return {
    read: limits.readBytesPerSecond,
    float32: limits.float32FlopsPerSecond,
    bfloat16: limits.bfloat16FlopsPerSecond || limits.float32FlopsPerSecond,
  };
}

const sorted = (list) => [...list].sort((a, b) => a - b);
function median(list) {
  const values = sorted(list);
  const middle = values.length / 2;
  return (values[Math.ceil(middle) - 1] + values[Math.floor(middle)]) / 2;
}
const mean = (a, b) => (a + b) / 2;

/** Seconds that the work takes at the limits. */
const leastSeconds = ({ flops, bytes }, limits, dtype) => Math.max(flops / limits[dtype], bytes / limits.read);

function number(value) {
  if (value >= 1000) return value.toFixed(0);
  return value.toPrecision(3);
}

function show(rows) {
  const columns = Object.keys(rows[0]);
  const width = (column) => Math.max(column.length, ...rows.map((row) => row[column].length));
  const line = (cells) => `| ${cells.join(' | ')} |`;
  console.log(line(columns.map((column) => column.padEnd(width(column)))));
  console.log(line(columns.map((column) => '-'.repeat(width(column)))));
  for (const row of rows) console.log(line(columns.map((column) => row[column].padEnd(width(column)))));
}

async function compareWorkload(engines, shape, workload) {
  const { batch, input } = workload;
  const before = measureLimits();
  const runs = new Map(engines.map((engine) => [engine, []]));
  for (const engine of engines) await engine.ask({ type: 'run', batch, input, output }); // warm-up
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? engines : [...engines].reverse();
    for (const engine of order) runs.get(engine).push(await engine.ask({ type: 'run', batch, input, output }));
  }
  const after = measureLimits();
  const limits = Object.fromEntries(Object.keys(before).map((key) => [key, mean(before[key], after[key])]));
  const steps = output - 1;
  const phases = {
    prefill: { time: (run) => run.prefillMs, tokens: batch * input, work: prefillWork(shape, batch, input) },
    decode: { time: (run) => run.decodeMs / steps, tokens: batch, work: decodeWork(shape, batch, input + output / 2) },
  };
  const [ours, ...peers] = engines;
  return Object.entries(phases).flatMap(([phase, { time, tokens, work }]) => {
    const least = leastSeconds(work, limits, shape.dtype) * 1000;
    return engines.map((engine) => {
      const times = runs.get(engine).map(time);
      const ratios = runs.get(engine).map((run, i) => time(run) / time(runs.get(ours)[i]));
      return {
        model: shape.name,
        workload: workload.name,
        phase,
        engine: engine.name,
        tokensPerSecond: (tokens / median(times)) * 1000,
        slowest: (tokens / Math.max(...times)) * 1000,
        fastest: (tokens / Math.min(...times)) * 1000,
        stepMs: median(times),
        oursOverTheirs: peers.includes(engine) ? median(ratios) : undefined,
        shareOfLimit: least / median(times),
        limits,
        sameTokens: sharedTokens(runs.get(engine).at(-1).tokens, runs.get(ours).at(-1).tokens),
        peakBytes: runs.get(engine).at(-1).peakBytes,
      };
    });
  });
}

/** How many of the first tokens are the same: other orders of summing part ways sooner or later. */
function sharedTokens(a, b) {
  const different = a.findIndex((token, i) => token !== b[i]);
  return different < 0 ? a.length : different;
}

/** Each round a new process of each engine loads the model and answers a short prompt. The first round warms the file cache. */
async function compareLoads(available, settings) {
  const prompt = { batch: 1, input: 16, output: 1 };
  const runs = new Map(available.map(({ name }) => [name, []]));
  for (let round = 0; round <= loads; round++) {
    for (const description of round % 2 === 0 ? available : [...available].reverse()) {
      description.beforeLoad?.();
      const engine = new Engine(description);
      try {
        const { loadMs } = await engine.ask({ type: 'load', ...settings, ...engine.settings });
        const { runMs, peakBytes } = await engine.ask({ type: 'run', ...prompt });
        if (round > 0) runs.get(engine.name).push({ loadMs, readyMs: loadMs + runMs, peakBytes });
      } finally {
        await engine.close();
      }
    }
  }
  const variants = available.filter(({ ours }) => ours);
  return available.map(({ name, ours }) => {
    const theirs = runs.get(name);
    const ratios = (key) =>
      variants.map((variant) => median(theirs.map((run, round) => runs.get(variant.name)[round][key] / run[key])));
    const of = (key) => ({ values: theirs.map((run) => run[key]), oursOverTheirs: ours ? [] : ratios(key) });
    return { engine: name, load: of('loadMs'), ready: of('readyMs'), peak: of('peakBytes') };
  });
}

function showLoads(rows) {
  const cell = ({ values, oursOverTheirs }, unit) => {
    const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)].map((each) =>
      number(each / unit),
    );
    const ratios = oursOverTheirs.map((ratio) => `${ratio.toFixed(2)}x`).join(' / ');
    return `${middle} (${low} to ${high})${ratios === '' ? '' : `, ours ${ratios}`}`;
  };
  show(
    rows.map(({ engine, load, ready, peak }) => ({
      engine,
      'load ms': cell(load, 1),
      'load and first token ms': cell(ready, 1),
      'peak RSS MiB': cell(peak, 2 ** 20),
    })),
  );
}

async function compareModel(shape) {
  const files = await makeModel(shape, values['models-directory']);
  const missing = ENGINES.filter((engine) => engine.missing !== undefined);
  const available = ENGINES.filter((engine) => engine.missing === undefined);
  const maxTokens = Math.max(
    shape.contextLength,
    ...workloads.map(({ batch, input }) => batch * (input + output + 64)),
  );
  const maxBatch = Math.max(1, ...workloads.map(({ batch }) => batch));
  const settings = { ...files, shape, threads, maxTokens, maxBatch };
  console.log(`\n${shape.title}; ${threads} threads each, ${rounds} rounds, ${output - 1} decode steps`);
  for (const { name, missing: reason } of missing) console.log(`${name}: left out (${reason})`);
  const loadRows = loads > 0 ? await compareLoads(available, settings) : [];
  if (loads > 0) showLoads(loadRows);
  const lasting = available.filter(({ loadsOnly }) => !loadsOnly);
  const results = workloads.length > 0 ? await compareWorkloads(lasting, shape, settings) : [];
  return { shape: shape.name, loads: loadRows, results };
}

async function compareWorkloads(available, shape, settings) {
  const engines = available.map((engine) => new Engine(engine));
  try {
    for (const engine of engines) await engine.ask({ type: 'load', ...settings, ...engine.settings });
    const results = [];
    for (const workload of workloads) results.push(...(await compareWorkload(engines, shape, workload)));
    const range = ({ slowest, fastest }) => `${number(slowest)} to ${number(fastest)}`;
    show(
      results.map((row) => ({
        workload: row.workload,
        phase: row.phase,
        engine: row.engine,
        'tok/s': number(row.tokensPerSecond),
        range: range(row),
        'ms/step': number(row.stepMs),
        'ours/theirs': row.oursOverTheirs === undefined ? '' : `${row.oursOverTheirs.toFixed(2)}x`,
        'of limit': `${(row.shareOfLimit * 100).toFixed(0)} %`,
        limits: `${(row.limits.read / 1e9).toFixed(0)} GB/s ${(row.limits[shape.dtype] / 1e9).toFixed(0)} GF/s`,
        'same tokens': `${row.sameTokens}/${output}`,
      })),
    );
    for (const engine of engines) {
      const peak = Math.max(...results.filter((row) => row.engine === engine.name).map((row) => row.peakBytes));
      console.log(`${engine.name}: peak RSS ${number(peak / 2 ** 20)} MiB`);
    }
    return results;
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
  }
}

console.log(`node-llama-cpp runs ${mayRealTime ? 'under chrt -r 1, its best mode' : 'without real-time scheduling'}`);
const all = [];
for (const model of values.models.split(',')) all.push(await compareModel(SHAPES[model]));
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(all, null, 1));
