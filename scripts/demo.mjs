// `npm run demo`: the main job on a fresh clone. Sets everything up, serves the bundled model, streams one story to the
// terminal, benchmarks the server, stops everything.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const model = 'models/stories260K';
const vitrine = ['dist/cli/main.js'];
const STORY_TOKENS = 220;
const START_SECONDS = 120;
const STOP_SECONDS = 15;

class DemoError extends Error {}

const say = (text) => console.log(`\n> ${text}`);

/** A program of this package, whose exit can be waited for. */
function start(args, stdio) {
  const child = spawn(process.execPath, [...vitrine, ...args], { cwd: root, stdio });
  const exited = new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
    child.once('error', (error) => resolve(error.message));
  });
  return { child, exited };
}

async function startServer(running) {
  const server = start(['launch-server', '--model-path', model, '--port', '0'], ['ignore', 'ignore', 'pipe']);
  running.push(server);
  let log = '';
  server.child.stderr.setEncoding('utf8').on('data', (text) => {
    log += text;
  });
  let end;
  void server.exited.then((reason) => {
    end = reason;
  });
  const giveUp = (what) => {
    throw new DemoError(`${what}. The server's last words:\n${log.split('\n').slice(-15).join('\n')}`);
  };
  for (const deadline = Date.now() + START_SECONDS * 1000; Date.now() < deadline; await sleep(100)) {
    if (end !== undefined) giveUp(`The server ended (${end})`);
    const url = /Listening on (http:\/\/[\w.:[\]]+)/.exec(log)?.[1];
    if (url === undefined) continue;
    const health = await fetch(`${url}/health`).catch(() => undefined);
    if (health?.ok) return { ...server, url };
  }
  return giveUp(`The server was not ready within ${START_SECONDS} s`);
}

async function stop({ child, exited }) {
  if (child.exitCode !== null || child.signalCode !== null) return exited;
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_SECONDS * 1000);
  const reason = await exited;
  clearTimeout(killer);
  return reason;
}

async function streamStory(url) {
  const prompt = 'Once upon a time';
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      text: prompt,
      sampling_params: { temperature: 0.8, max_new_tokens: STORY_TOKENS, sampling_seed: 7 },
      stream: true,
    }),
  });
  if (!response.ok) throw new DemoError(`POST /generate: HTTP ${response.status} ${await response.text()}`);
  process.stdout.write(prompt);
  const decoder = new TextDecoder();
  let pending = '';
  let shown = 0;
  for await (const chunk of response.body) {
    const lines = (pending + decoder.decode(chunk, { stream: true })).split('\n');
    pending = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new DemoError(`POST /generate: ${event.error.message}`);
      // The text is cumulative, as in SGLang.
      process.stdout.write(event.text.slice(shown));
      shown = event.text.length;
    }
  }
  process.stdout.write('\n');
  if (shown === 0) throw new DemoError('POST /generate: the stream brought no text');
}

async function benchmark(url, folder, running) {
  const args = ['--backend', 'sglang', '--base-url', url, '--tokenizer', model, '--dataset-name', 'random'];
  const sizes = ['--num-prompts', '64', '--random-input-len', '128', '--random-output-len', '128'];
  const output = ['--output-file', join(folder, 'demo.jsonl')];
  const bench = start(['bench-serving', ...args, ...sizes, ...output], 'inherit');
  running.push(bench);
  const reason = await bench.exited;
  if (reason !== 'exit 0') throw new DemoError(`bench-serving failed (${reason})`);
}

async function main() {
  const { status } = spawnSync(process.execPath, ['scripts/setup.mjs'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new DemoError('The set-up failed; what it needs is said above.');
  const folder = mkdtempSync(join(tmpdir(), 'vitrine-demo-'));
  const running = [];
  const stopAll = () => Promise.all(running.map(stop));
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      void stopAll().then(() => {
        rmSync(folder, { recursive: true, force: true });
        process.exit(130);
      });
    });
  }
  try {
    say(`vitrine launch-server --model-path ${model} --port 0`);
    const server = await startServer(running);
    console.log(`ready at ${server.url}`);
    say('POST /generate {"text": "Once upon a time", "stream": true, ...}');
    await streamStory(server.url);
    say('vitrine bench-serving --backend sglang --dataset-name random --num-prompts 64 ...');
    await benchmark(server.url, folder, running);
    const end = await stop(server);
    if (end !== 'exit 0') throw new DemoError(`The server did not stop cleanly (${end})`);
    say('Done. The README says how to serve your own model.');
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof DemoError ? error.message : error.stack}`);
  process.exitCode = 1;
}
