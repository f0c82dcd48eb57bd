// How well the load generator keeps to its arrival times, against a server that answers at once: node bench/arrivals.mjs
// Prints the planned and the achieved rate, the drift over the run, how late requests were sent, and what waiting cost.
// Options: --rate N (requests per second)  --seconds N  --seed N  --tolerance F (fail above this relative error of the rate)
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { HttpClient } from '../dist/bench/http/http-client.js';
import { payloadSettings } from '../dist/bench/serving/backends/payload-settings.js';
import { selectBackend } from '../dist/bench/serving/backends/select-backend.js';
import { arrivalTimes } from '../dist/bench/serving/load/arrivals.js';
import { generateLoad } from '../dist/bench/serving/load/load-generator.js';
import { RequestSender } from '../dist/bench/serving/load/send-request.js';
import { Sample } from '../dist/bench/statistics/statistics.js';
import { parseArguments } from '../dist/config/parse.js';
import { BENCH_SERVING } from '../dist/config/programs.js';

if (process.send !== undefined) serve();
else await measure();

/** The server, in a process of its own. */
function serve() {
  const answer = `data: ${JSON.stringify({ text: 'x', meta_info: { completion_tokens: 1, finish_reason: { type: 'stop' } } })}\n\ndata: [DONE]\n\n`;
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(answer));
  });
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
  process.on('disconnect', () => process.exit());
}

async function measure() {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '200' },
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      tolerance: { type: 'string', default: '0.01' },
    },
  });
  const rate = Number(values.rate);
  const arrivals = arrivalTimes(Math.round(rate * Number(values.seconds)), rate, Number(values.seed));
  const child = fork(new URL(import.meta.url));
  const [port] = await once(child, 'message');
  const client = new HttpClient({ baseUrl: `http://127.0.0.1:${port}`, headers: {} });
  const signal = new AbortController().signal;
  const { options } = parseArguments(BENCH_SERVING, ['--backend', 'sglang'], {});
  const settings = { payload: payloadSettings(options, 'echo'), timeoutSeconds: options.requestTimeoutSec };
  const sender = new RequestSender(client, selectBackend('sglang'), settings, signal);
  const request = { prompt: 'x'.repeat(512), promptLen: 128, outputLen: 1 };
  // Compiles the code, opens the first connections.
  for (let i = 0; i < 200; i++) await sender.send(request, 0, 0);

  const records = [];
  const cpu = process.cpuUsage();
  const start = await generateLoad({
    arrivals,
    maxConcurrency: Number.POSITIVE_INFINITY,
    signal,
    send: async (index, arrivedAt) => void records.push(await sender.send(request, index, arrivedAt)),
  });
  const { user, system } = process.cpuUsage(cpu);
  client.close();
  child.disconnect();

  records.sort((a, b) => a.index - b.index);
  const failed = records.filter((record) => record.error !== '').length;
  const late = records.map((record) => (record.sentAt - record.arrivedAt) * 1000);
  const gaps = records.length - 1;
  const planned = gaps / arrivals.at(-1);
  const achieved = gaps / (records.at(-1).sentAt - records[0].sentAt);
  const error = achieved / planned - 1;
  const tenth = Math.ceil(late.length / 10);
  const drift = new Sample(late.slice(-tenth)).median - new Sample(late.slice(0, tenth)).median;
  const sample = new Sample(late);
  const shown = (ms) => `${ms.toFixed(3)} ms`;
  console.log(`requests            ${records.length} (${failed} failed)`);
  console.log(`rate asked for      ${rate} req/s; of the arrival times drawn ${planned.toFixed(3)} req/s`);
  console.log(`rate achieved       ${achieved.toFixed(3)} req/s (${(error * 100).toFixed(4)} %)`);
  console.log(`drift               ${shown(drift)} (median lateness of the last tenth − of the first)`);
  console.log(
    `lateness            p50 ${shown(sample.median)}, p99 ${shown(sample.percentile(99))}, max ${shown(sample.max)}`,
  );
  const share = (user + system) / 1e4 / (records.at(-1).endedAt - start);
  console.log(`client's processor  ${share.toFixed(1)} % of one core`);
  if (failed > 0 || Math.abs(error) > Number(values.tolerance)) process.exitCode = 1;
}
