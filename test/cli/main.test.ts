// The `vitrine` program as it is run: words, exit codes, and that nothing heavy is loaded for help.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PROGRAMS } from '#vitrine/config/programs.js';
import { FakeLlmServer } from '../support/fake-llm-server.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const MODEL = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));

interface Exit {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Settings {
  readonly input?: string;
  readonly onStart?: (child: ChildProcess) => void;
  readonly nodeFlags?: readonly string[];
}

function vitrine(args: readonly string[], { input, onStart, nodeFlags = [] }: Settings = {}): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeFlags, MAIN, ...args], { stdio: 'pipe' });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.end(input ?? '');
    onStart?.(child);
  });
}

describe('help and version', () => {
  test('vitrine --help lists the commands; without arguments too', async () => {
    for (const args of [['--help'], ['-h'], ['help'], []]) {
      const { code, out, err } = await vitrine(args);
      assert.equal(code, 0, args.join());
      assert.equal(err, '');
      for (const { name } of PROGRAMS) assert.match(out, new RegExp(`^ {2}${name} `, 'm'));
    }
  });

  test('every command has its own, with every flag', async () => {
    for (const program of PROGRAMS) {
      const { code, out } = await vitrine([program.name.replaceAll('-', '_'), '--help']);
      assert.equal(code, 0);
      for (const option of program.options) assert.ok(out.includes(`--${option.flag}`), `--${option.flag}`);
      assert.ok(out.includes(program.examples[0]!));
      assert.deepEqual((await vitrine(['help', program.name])).out, out);
    }
  });

  test('help loads neither the addon nor the server', async () => {
    const trace =
      'data:text/javascript,' +
      encodeURIComponent(
        'import Module from "node:module"; const load = Module._load; Module._load = (name, ...rest) => {' +
          'if (/fastify|tokenizers|node-gyp-build|pino/.test(name)) { console.error("loaded " + name); process.exit(9); }' +
          'return load(name, ...rest); };',
      );
    const { code, err } = await vitrine(['launch-server', '--help'], { nodeFlags: ['--import', trace] });
    assert.equal(err, '');
    assert.equal(code, 0);
  });

  test('--version is that of package.json', async () => {
    const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
    const { code, out } = await vitrine(['--version']);
    assert.deepEqual([code, out.trim()], [0, (JSON.parse(text) as { version: string }).version]);
  });

  test('a reader that leaves early is no failure', async () => {
    const onStart = (child: ChildProcess) => child.stdout!.destroy();
    const { code, err } = await vitrine(['launch-server', '--help'], { onStart });
    assert.equal(err, '');
    assert.equal(code, 0);
  });
});

describe('usage errors exit with 2 and one line', () => {
  const cases: [string[], RegExp][] = [
    [['lunch-server'], /^vitrine: unknown command 'lunch-server'; did you mean launch-server\?\n$/],
    [
      ['bench_offline_throughput'],
      /^vitrine: bench_offline_throughput is an SGLang program .* not have yet; there are/,
    ],
    [['--frobnicate'], /^vitrine: unknown option '--frobnicate'\n$/],
    [['launch-server'], /^vitrine: --model-path is required\n$/],
    [['launch-server', '--model-path', 'm', '--max', '3'], /^vitrine: --max is ambiguous: it could mean --max-.*\n$/],
    [['launch-server', '--modle-path', 'm'], /^vitrine: unknown option --modle-path; did you mean --model-path/],
    [['launch_server', '--model', 'm', '--tp', '2'], /^vitrine: --tp \(--tp-size\) is an SGLang option .*yet\n$/],
    [['bench-serving', '--request-rate', 'fast'], /^vitrine: --request-rate: expected a number .* got 'fast'\n$/],
    [
      ['bench-serving', '--image-count'],
      /^vitrine: --image-count is an SGLang option about multimodal models, and Vitrine has/,
    ],
    [['bench-serving', '--fake-prefill'], /^vitrine: --fake-prefill is an SGLang option .* not support yet\n$/],
    [['profiler', '--rpd'], /^vitrine: --rpd: RPD is a profiler of ROCm/],
    [
      ['send_one', '--image'],
      /^vitrine: --image is an SGLang option about multimodal models, and Vitrine has text models/,
    ],
    [['generate', '--model', 'm', 'stray'], /^vitrine: unexpected argument 'stray'/],
    [['bench-serving', '--base-url', 'nowhere'], /^vitrine: --base-url: expected an http/],
  ];
  for (const [args, pattern] of cases) {
    test(`vitrine ${args.join(' ')}`, async () => {
      const { code, err } = await vitrine(args);
      assert.match(err, pattern);
      assert.equal(code, 2);
    });
  }
});

describe('failures exit with 1 and their code', () => {
  test('a folder that is not there', async () => {
    const { code, out, err } = await vitrine(['generate', '--model-path', '/nonexistent/model', '--prompt', 'x']);
    assert.equal(code, 1);
    assert.equal(out, '');
    assert.match(err, /^vitrine: .*\/nonexistent\/model.* \[MODEL_NOT_FOUND\]\n$/);
  });

  test('with the stack on --log-level debug', async () => {
    const args = ['generate', '--model-path', '/nonexistent/model', '--prompt', 'x', '--log-level', 'debug'];
    const { code, err } = await vitrine(args);
    assert.equal(code, 1);
    assert.match(err, /\n {4}at /);
  });

  test('nobody at the address', async () => {
    const args = ['bench-serving', '--base-url', 'http://127.0.0.1:9', '--ready-timeout-sec', '0'];
    const { code, err } = await vitrine(args);
    assert.equal(code, 1);
    assert.match(err, /No server at http:\/\/127\.0\.0\.1:9: .* \[NOT_READY\]\n$/);
  });
});

describe('generate', () => {
  const greedy = ['generate', '--model-path', MODEL, '--temperature', '0', '--max-new-tokens', '12'];

  test('streams the text to standard output and figures to standard error', async () => {
    const { code, out, err } = await vitrine([...greedy, '--prompt', 'Once upon a time']);
    assert.equal(code, 0, err);
    assert.match(out, /^, there was a/);
    assert.match(err, /^12 tokens in \d+\.\d\d s \(.* tokens\/s, the first after .* ms\); ended by length\n$/);
  });

  test('the prompt may come on standard input', async () => {
    const { out } = await vitrine([...greedy, '--prompt', 'Once upon a time']);
    assert.equal((await vitrine(greedy, { input: 'Once upon a time\n' })).out, out);
  });

  test('the same seed repeats the text; stop strings end it', async () => {
    const sampled = ['generate', '--model', MODEL, '--prompt', 'Lily', '--max-new', '30', '--seed', '5'];
    const first = await vitrine(sampled);
    assert.equal((await vitrine(sampled)).out, first.out);
    const stopped = await vitrine([...greedy, '--prompt', 'Once upon a time', '--stop', 'was', 'never said']);
    assert.match(stopped.out, /^, there \n$/);
    assert.match(stopped.err, /ended by stop/);
  });
});

describe('bench-one-batch', () => {
  test('options from a YAML file; what cannot matter is warned about', async (t) => {
    const folder = await temporaryDirectory(t);
    const config = join(folder, 'bench.yaml');
    const result = join(folder, 'result.jsonl');
    await writeFile(config, `model_path: ${MODEL}\nbatch-size: [1, 2]\ninput-len: 8\nresult-filename: ${result}\n`);
    const { code, out, err } = await vitrine([
      'bench-one-batch',
      '--config',
      config,
      '--output',
      '3',
      '--disable-radix',
    ]);
    assert.equal(code, 0, err);
    assert.equal(err, 'warning: --disable-radix-cache has no effect on bench-one-batch\n');
    assert.match(out, /Benchmark \.\.\.\nPrefill\./);
    assert.equal((await readFile(result, 'utf8')).trimEnd().split('\n').length, 2);
  });
});

describe('bench-serving', () => {
  const flags = (server: FakeLlmServer, file: string) => [
    ...['bench_serving', '--base-url', server.url, '--tokenizer', MODEL, '--output-file', file],
    ...['--dataset-name', 'random', '--num-prompt', '6', '--random-input', '5', '--random-output', '5'],
    ...['--warmup-requests', '0'],
  ];

  test('0 when all succeed, 1 when one fails', async (t) => {
    const file = join(await temporaryDirectory(t), 'out.jsonl');
    const server = await FakeLlmServer.start((index) => (index === 6 ? 'cut' : 'good'));
    try {
      const good = await vitrine(flags(server, file));
      assert.equal(good.code, 0, good.err);
      assert.equal(good.err, '', 'no progress bar without a terminal');
      assert.match(good.out, /Successful requests: {21}6 {9}\n/);
      const bad = await vitrine(flags(server, file));
      assert.equal(bad.code, 1);
      assert.match(bad.err, /1 of 6 requests failed:\n {2}1 × the connection was cut/);
      assert.match(bad.out, /Successful requests: {21}5 /);
      const rows = (await readFile(file, 'utf8')).trimEnd().split('\n');
      assert.deepEqual(
        rows.map((row) => (JSON.parse(row) as { completed: number }).completed),
        [6, 5],
      );
    } finally {
      await server.close();
    }
  });

  test('Ctrl-C prints and saves what was measured', async (t) => {
    const file = join(await temporaryDirectory(t), 'out.jsonl');
    const server = await FakeLlmServer.start((index) => (index < 2 ? 'good' : 'slow'));
    try {
      const onStart = async (child: ChildProcess) => {
        while (server.received.length < 6) await new Promise((resolve) => setTimeout(resolve, 10));
        setTimeout(() => child.kill('SIGINT'), 200);
      };
      const { code, out, err } = await vitrine(flags(server, file), { onStart: (child) => void onStart(child) });
      assert.equal(code, 130, err);
      assert.match(out, /Successful requests: +2 /);
      assert.match(err, /Interrupted: the figures are those of 2 of 6 requests/);
      assert.equal((JSON.parse(await readFile(file, 'utf8')) as { interrupted: number }).interrupted, 4);
    } finally {
      await server.close();
    }
  });
});

test('bench-compare: 0, 1 for a regression, 2 for files that are no results', async (t) => {
  const folder = await temporaryDirectory(t);
  const paths = [500, 400].map((_, i) => join(folder, `${i}.jsonl`));
  for (const [i, throughput] of [500, 400].entries()) {
    await writeFile(paths[i]!, `{"request_rate": Infinity, "request_throughput": ${throughput}, "mean_ttft_ms": 5}\n`);
  }
  const compared = await vitrine(['bench_compare', ...paths]);
  assert.equal(compared.code, 0, compared.err);
  assert.match(compared.out, /\nrequest_throughput +500\.00 +400\.00 +-20\.00 % +- +one run: no spread known\n/);
  const worse = await vitrine(['bench-compare', ...paths, '--fail-on-reg', '10']);
  assert.deepEqual([worse.code, worse.err], [1, 'Worse by more than 10 %: request_throughput\n']);
  await writeFile(paths[1]!, 'nonsense\n');
  const refused = await vitrine(['bench-compare', ...paths]);
  assert.equal(refused.code, 2);
  assert.match(refused.err, /^vitrine: .*1\.jsonl:1: expected a JSON object, got 'nonsense'\n$/);
});
