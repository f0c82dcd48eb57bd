// Merges 8 rank traces of 250 MB of text each and shows that memory stays bounded: node bench/trace-merge.mjs
// The time is told as a ratio to unpacking and packing the same bytes and nothing else, in the same run.
// Options: --files N  --megabytes N (of text, each)  --keep (leave the files)  --limit MIB (fail above this RSS)
//          --result FILE (write the figures there, as a Markdown page)
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { createGunzip, createGzip } from 'node:zlib';
import { mergeTraces } from '../dist/trace/merge/trace-merger.js';
import { traceFileName } from '../dist/trace/trace-file-name.js';
import { GzipFile } from '../dist/trace/write/gzip-file.js';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '8' },
    megabytes: { type: 'string', default: '250' },
    limit: { type: 'string', default: '1024' },
    result: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const files = Number(values.files);
const textBytes = Number(values.megabytes) * 1e6;
const limitMiB = Number(values.limit);
const profileId = '1769071195.6634595';

const NAMES = [
  'aten::linear',
  'void cutlass::Kernel<\\"x\\">(T1::Params)',
  'rms_norm',
  'Ünïcode 操作',
  'quote \\\\ \\u0007',
];

/** A trace in Kineto's layout: steps, ops inside them, launches with arrows to kernels on a GPU track. */
function writeTrace(path, rank) {
  const file = new GzipFile(path);
  file.write(
    `{"schemaVersion":1,"deviceProperties":[{"id":${rank},"name":"device ${rank}"}],"distributedInfo":{"backend":"nccl","rank":${rank},"world_size":${files}},"displayTimeUnit":"ms","baseTimeNanoseconds":1767189312000000000,"traceEvents":[`,
  );
  let events = 0;
  for (let op = 0; file.textBytes < textBytes; op++) {
    const ts = `${1_000_000 + op * 20}.${String(op % 1000).padStart(3, '0')}`;
    const name = NAMES[op % NAMES.length];
    const where = `"pid":4711,"tid":4711,"ts":${ts}`;
    const batch = [
      `{"ph":"X","cat":"cpu_op","name":"${name}",${where},"dur":15.000,"args":{"External id":${op},"layer":${op % 32},"Input Dims":[[8,4096],[6144,4096]],"Ev Idx":${op}}}`,
      `{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel",${where},"dur":5.125,"args":{"External id":${op},"cbid":211,"correlation":${op}}}`,
      `{"ph":"s","id":${op},${where},"cat":"ac2g","name":"ac2g"}`,
      `{"ph":"X","cat":"kernel","name":"${name}","pid":0,"tid":7,"ts":${ts},"dur":9.250,"args":{"External id":${op},"queued":0,"device":0,"context":1,"stream":7,"correlation":${op},"grid":[1,48,1],"block":[384,1,1]}}`,
      `{"ph":"f","id":${op},"pid":0,"tid":7,"ts":${ts},"cat":"ac2g","name":"ac2g","bp":"e"}`,
    ];
    file.write(`${op === 0 ? '' : ','}\n${batch.join(',\n')}`);
    events += batch.length;
  }
  file.write('],\n"traceName":"synthetic"}\n');
  file.commit();
  return events;
}

const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const directory = mkdtempSync(join(tmpdir(), 'vitrine-trace-merge-'));
// Memory is sampled from another thread, so that long work on this one cannot hide a peak.
const sampler = new Worker(
  `const { parentPort } = require('node:worker_threads');
   let peak = 0;
   const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()); }, 5);
   parentPort.on('message', (m) => { if (m === 'peak') parentPort.postMessage(peak); else if (m === 'reset') peak = 0; else { clearInterval(timer); parentPort.close(); } });`,
  { eval: true, execArgv: [] },
);
const peakBytes = () =>
  new Promise((resolve) => {
    sampler.once('message', resolve);
    sampler.postMessage('peak');
  });

try {
  let events = 0;
  let compressed = 0;
  for (let rank = 0; rank < files; rank++) {
    const path = join(directory, traceFileName({ profileId, ranks: { tp: rank } }));
    events += writeTrace(path, rank);
    compressed += statSync(path).size;
  }
  console.log(
    `sources       ${files} files, ${events} events, ${mib(files * textBytes)} of text, ${mib(compressed)} compressed`,
  );
  console.log(`before        ${mib(process.memoryUsage.rss())} resident`);
  sampler.postMessage('reset');
  const started = performance.now();
  const [result] = await mergeTraces({ inputs: [directory] });
  const seconds = (performance.now() - started) / 1000;
  const peak = await peakBytes();
  if (result.events !== events || result.sources.length !== files || result.skipped.length > 0) {
    throw new Error(`merged ${result.events} events of ${result.sources.length} files, expected ${events} of ${files}`);
  }
  const plainStarted = performance.now();
  for (const { path } of result.sources) {
    const target = createWriteStream(join(directory, 'plain.gz'));
    await pipeline(createReadStream(path), createGunzip(), createGzip({ level: 1 }), target);
  }
  const plainSeconds = (performance.now() - plainStarted) / 1000;
  console.log(
    `merged        ${result.events} events, ${mib(result.textBytes)} of text, ${mib(result.fileBytes)} compressed`,
  );
  const ratio = seconds / plainSeconds;
  console.log(
    `time          ${seconds.toFixed(1)} s, ${(result.textBytes / 1e6 / seconds).toFixed(0)} MB of text a second`,
  );
  console.log(
    `gunzip | gzip ${plainSeconds.toFixed(1)} s over the same files; the merge takes ${ratio.toFixed(2)} times as long`,
  );
  console.log(`peak          ${mib(peak)} resident, limit ${limitMiB} MiB`);
  if (values.result !== undefined) {
    mkdirSync(dirname(values.result), { recursive: true });
    writeFileSync(
      values.result,
      `# Merging trace files

Written by \`node bench/trace-merge.mjs --result ${values.result}\`. The merge reads every file twice: once to learn which are
sound, once to rewrite its events. The pass it is compared with unpacks and packs the same files (gunzip, gzip -1) and looks at
nothing; it may use a thread for each.

| | |
|---|---|
| files | ${files} of ${values.megabytes} MB of text each, ${events} events, ${mib(compressed)} compressed |
| peak memory of the process | ${mib(peak)} resident (limit ${limitMiB} MiB) |
| time, as a ratio to gunzip and gzip of the same bytes | ${ratio.toFixed(2)} |
`,
    );
  }
  if (peak > limitMiB * 2 ** 20) throw new Error('over the memory limit');
} finally {
  sampler.postMessage('stop');
  if (values.keep) console.log(`files in ${directory}`);
  else rmSync(directory, { recursive: true, force: true });
}
