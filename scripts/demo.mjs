// `npm run demo`: sets everything up, serves the bundled model, streams a story, benchmarks the server, stops everything.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/main.js');
const model = join(root, 'models/stories260K');
const READY = 'The server is fired up and ready to roll!';

function say(text) {
  console.log(`\n\x1b[1m${text}\x1b[0m`);
}

/** Starts the server on a free port; resolves with its address once it is ready. */
function startServer() {
  const server = spawn(process.execPath, [program, 'launch-server', '--model-path', model, '--port', '0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const url = new Promise((resolve, reject) => {
    const log = [];
    let address;
    createInterface({ input: server.stderr }).on('line', (line) => {
      log.push(line);
      address ??= /http:\/\/[\d.]+:\d+/.exec(line)?.[0];
      if (line.includes(READY)) resolve(address);
    });
    server.once('exit', (code) => reject(new Error(`The server ended with exit code ${code}:\n${log.join('\n')}`)));
  });
  return { server, url };
}

/** Streams one story; each event repeats the text from the start, as SGLang's do. */
async function streamStory(url) {
  const text = 'Once upon a time';
  const response = await fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text, stream: true, sampling_params: { temperature: 0, max_new_tokens: 200 } }),
  });
  if (!response.ok) throw new Error(`POST /generate answered ${response.status}: ${await response.text()}`);
  process.stdout.write(text);
  let shown = 0;
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    const events = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
    rest = events.pop();
    for (const event of events) {
      if (event === 'data: [DONE]') continue;
      const story = JSON.parse(event.slice('data: '.length)).text;
      process.stdout.write(story.slice(shown));
      shown = story.length;
    }
  }
  process.stdout.write('\n');
}

function benchmark(url, folder) {
  const lengths = ['--num-prompts', '64', '--random-input-len', '128', '--random-output-len', '64'];
  const results = ['--output-file', join(folder, 'demo.jsonl')];
  const flags = ['bench-serving', '--backend', 'sglang', '--base-url', url, '--dataset-name', 'random'];
  const { status } = spawnSync(process.execPath, [program, ...flags, ...lengths, ...results], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`bench-serving ended with exit code ${status}`);
}

async function main() {
  const setup = spawnSync(process.execPath, [join(root, 'scripts/setup.mjs')], { stdio: 'inherit' });
  if (setup.status !== 0) throw new Error('The set-up failed');
  const folder = mkdtempSync(join(tmpdir(), 'vitrine-demo-'));
  const { server, url } = startServer();
  const stopped = new Promise((resolve) => server.once('exit', resolve));
  try {
    say(`Serving ${model} at ${await url}`);
    say('A story from POST /generate:');
    await streamStory(await url);
    say('The server under bench-serving, 64 requests at once:');
    benchmark(await url, folder);
  } finally {
    server.kill('SIGTERM');
    await stopped;
    rmSync(folder, { recursive: true, force: true });
  }
  say('Done. Start your own: npx vitrine launch-server --model-path <folder or hub id>');
}

main().catch((error) => {
  console.error(`\nThe demo failed: ${error.message}`);
  process.exitCode = 1;
});
