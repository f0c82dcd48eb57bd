// What writing a large trace does to the steps that run meanwhile.
//
//   node bench/profile-export.mjs [--megabytes N (of text)] [--model stories|160m|both] [--batch N]
//
// Runs decode steps one after the other, first undisturbed, then while the trace writer's thread encodes, compresses and
// writes a trace of N MB, then undisturbed again. Prints step times and the ratio of the p99 while writing to the median
// without; also how long the writing took, alone and beside the steps.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { StaticBatch } from '../dist/bench/one-batch/static-batch.js';
import { resolveOptions } from '../dist/config/resolve-options.js';
import { SCHEDULER_OPTIONS } from '../dist/config/tables/scheduler-options.js';
import { ModelRunner } from '../dist/engine/model-runner.js';
import { prepareModel } from '../dist/model/prepare-model.js';
import { loadAddon } from '../dist/native/load.js';
import { engineTables, NO_TABLES } from '../dist/trace/record/span-source.js';
import { TraceWriter } from '../dist/trace/write/trace-writer.js';
import { silentLog } from '../dist/util/log.js';
import { DUMMY_160M, STORIES_260K } from './bench-models.mjs';

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '200' },
    model: { type: 'string', default: 'both' },
    batch: { type: 'string', default: '8' },
  },
});
const textBytes = Number(values.megabytes) * 1e6;
const batch = Number(values.batch);

const MODELS = {
  stories: { ...STORIES_260K, longest: 500, steps: 4000 },
  '160m': { ...DUMMY_160M, longest: 500, steps: 600 },
};

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
const sort = (list) => [...list].sort((a, b) => a - b);

/** Decode steps until `done`; their times in ms, as the caller sees them. */
async function decode(runner, { longest }, done) {
  const times = [];
  while (!done(times.length)) {
    const static_ = new StaticBatch(runner, new Array(batch).fill(longest));
    await static_.extend(Array.from({ length: batch }, (_, i) => [i + 1, i + 2, i + 3, i + 4]));
    for (let i = 0; i < longest - 8 && !done(times.length); i++) {
      const begin = performance.now();
      await static_.decode();
      times.push(performance.now() - begin);
    }
  }
  return times;
}

async function openWriter(runner, directory) {
  const writer = await TraceWriter.open({
    path: join(directory, 'export.trace.json.gz'),
    deviceProperties: [],
    metadata: {},
    vitrine: { version: '0', profileId: '0', ranks: { tp: 0 }, hostId: '', monotonicToWallNs: '0' },
    recordShapes: true,
    maxFileBytes: Number.POSITIVE_INFINITY,
    maxPendingBytes: Number.POSITIVE_INFINITY,
  });
  const source = writer.addSource(
    { pid: process.pid, name: 'rank', sortIndex: 0 },
    engineTables(runner.spanTables(), 0),
  );
  return { writer, source };
}

/** Hands over so many copies of a step's records, and completes the file; resolves with its sizes. */
async function write(runner, directory, records, copies) {
  const { writer, source } = await openWriter(runner, directory);
  for (let i = 0; i < copies; i++) {
    writer.write(source, { records, ...NO_TABLES });
    if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve)); // as they would come: not all at once
  }
  return writer.finish();
}

async function measure(name) {
  const { title, options: given, longest, steps } = MODELS[name];
  const directory = mkdtempSync(join(tmpdir(), 'vitrine-export-'));
  const options = resolveOptions(SCHEDULER_OPTIONS, { ...given, maxTotalTokens: 2 * batch * longest });
  const model = await prepareModel(options, silentLog);
  const runner = ModelRunner.create({ addon: loadAddon(), model, options, log: silentLog });
  try {
    const one = new StaticBatch(runner, new Array(batch).fill(longest));
    await one.extend(Array.from({ length: batch }, () => [1, 2, 3]));
    const records = (await one.decode(true)).spans;
    const few = await write(runner, directory, records, 100);
    const copies = Math.ceil(textBytes / (few.textBytes / 100));

    await decode(runner, { longest }, (count) => count >= steps / 4);
    const before = await decode(runner, { longest }, (count) => count >= steps);
    const begin = performance.now();
    let info;
    let seconds = 0;
    const writing = write(runner, directory, records, copies).then((result) => {
      info = result;
      seconds = (performance.now() - begin) / 1000;
    });
    const during = await decode(runner, { longest }, () => info !== undefined);
    await writing;
    const after = await decode(runner, { longest }, (count) => count >= steps);
    const aloneBegin = performance.now();
    await write(runner, directory, records, copies);
    const alone = (performance.now() - aloneBegin) / 1000;

    const undisturbed = sort([...before, ...after]);
    const disturbed = sort(during);
    const median = quantile(undisturbed, 0.5);
    const row = (label, sorted) =>
      `  ${label}: median ${quantile(sorted, 0.5).toFixed(3)} ms, p99 ${quantile(sorted, 0.99).toFixed(3)} ms, ` +
      `max ${sorted.at(-1).toFixed(3)} ms (${sorted.length} steps)`;
    console.log(
      `${title}, batch ${batch}; a trace of ${(info.textBytes / 1e6).toFixed(0)} MB (${(info.fileBytes / 1e6).toFixed(0)} MB compressed)`,
    );
    console.log(row('undisturbed  ', undisturbed));
    console.log(row('while writing', disturbed));
    console.log(
      `  p99 while writing / median undisturbed: ${(quantile(disturbed, 0.99) / median).toFixed(2)} (aim < 2)`,
    );
    console.log(`  p99 undisturbed / median undisturbed:   ${(quantile(undisturbed, 0.99) / median).toFixed(2)}`);
    console.log(`  median while writing / undisturbed:     ${(quantile(disturbed, 0.5) / median).toFixed(2)}`);
    console.log(`  writing took ${seconds.toFixed(1)} s beside the steps, ${alone.toFixed(1)} s alone`);
  } finally {
    runner.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const name of values.model === 'both' ? Object.keys(MODELS) : [values.model]) await measure(name);
process.exit(0);
