// Reports: what is in them, and what a real browser makes of them without a network.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { benchCompare } from '#vitrine/bench/compare/compare.js';
import { flagFacts, machineFacts, serverFacts } from '#vitrine/bench/html-report/about.js';
import { escapeJson } from '#vitrine/bench/html-report/page-html.js';
import { resultsReport } from '#vitrine/bench/html-report/results-report.js';
import { servingCharts } from '#vitrine/bench/html-report/serving-charts.js';
import { servingReport } from '#vitrine/bench/html-report/serving-report.js';
import { sweepLines } from '#vitrine/bench/html-report/sweep-lines.js';
import { sweepReport } from '#vitrine/bench/html-report/sweep-report.js';
import { prepareReport, writeReport } from '#vitrine/bench/html-report/write-report.js';
import type { LatencyRow } from '#vitrine/bench/one-batch/latency-test.js';
import type { RequestTimes } from '#vitrine/bench/series/request-times.js';
import { benchServing } from '#vitrine/bench/serving/serving.js';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_COMPARE, BENCH_SERVING } from '#vitrine/config/programs.js';
import { findChromium, launchChromium, NO_CHROMIUM } from '../support/chromium.js';
import { createFakeAddon } from '../support/fake-engine.js';
import { FakeLlmServer } from '../support/fake-llm-server.js';
import { ReportPage } from '../support/report-page.js';
import { rowOf, simulateRun } from '../support/simulated-run.js';

const TOKENIZER = fileURLToPath(new URL('../fixtures/models/stories260K', import.meta.url));
const HOSTILE = '</script><script>window.broken = 1</script><img src=x onerror="window.broken=2">\u2028\u2029<!--';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vitrine-report-'));
});
after(() => rm(folder, { recursive: true }));

const point = (batchSize: number, inputLen: number, more: Partial<LatencyRow> = {}): LatencyRow => ({
  ...{ run_name: 'default', batch_size: batchSize, input_len: inputLen, output_len: 8 },
  ...{ prefill_latency: batchSize * inputLen * 1e-5, prefill_throughput: 1e5 },
  ...{ median_decode_latency: 0.004 + batchSize * 1e-4, median_decode_throughput: batchSize / 0.004 },
  ...{ total_latency: 1, overall_throughput: 1, ...more },
});

describe('data of a report', () => {
  test('JSON that cannot leave its script element, and reads back as it was', () => {
    const text = escapeJson({ text: HOSTILE });
    assert.doesNotMatch(text, /[<>\u2028\u2029]/);
    assert.deepEqual(JSON.parse(text), { text: HOSTILE });
  });

  test('flags as given, without secrets', () => {
    const { options } = parseArguments(
      BENCH_SERVING,
      [
        ...['--base-url', 'http://user:word@host:1', '--header', 'Authorization=Bearer abc', 'X-Team=blue'],
        ...['--extra-request-body', '{"api_key": "abc", "max_tokens": 3, "deep": {"password": "abc"}}'],
      ],
      {},
    );
    const facts = new Map(flagFacts(BENCH_SERVING.options, options).facts);
    assert.equal(facts.get('--base-url'), 'http://…@host:1');
    assert.equal(facts.get('--header'), 'Authorization=… X-Team=…');
    assert.equal(facts.get('--extra-request-body'), '{"api_key":"…","max_tokens":3,"deep":{"password":"…"}}');
    assert.equal(facts.get('--backend'), 'sglang');
    assert.equal(facts.has('--model'), false);
  });

  test('machine and server', () => {
    const machine = new Map(machineFacts(new Date(0)).facts);
    assert.equal(machine.get('Date'), '1970-01-01T00:00:00.000Z');
    assert.equal(machine.get('Node.js'), process.versions.node);
    assert.match(machine.get('Vitrine')!, /^\d+\.\d+\.\d+/);
    assert.match(machine.get('CPU')!, /logical processors$/);
    assert.deepEqual(serverFacts('Server', { version: '1', model_path: 'm', api_key: 'k', internal_states: [] }), {
      title: 'Server',
      facts: [
        ['Version', '1'],
        ['Model', 'm'],
      ],
    });
    assert.equal(serverFacts('Server', null), undefined);
  });

  test('a line of the sweep for every length, by batch size', () => {
    const lines = sweepLines([point(8, 16), point(1, 16), point(1, 32), { ...point(1, 16), prefill_latency: 9 }]);
    assert.deepEqual(
      lines.map(({ label, batchSize, prefillLatency }) => ({ label, batchSize, prefillLatency })),
      [
        { label: 'input 16', batchSize: [1, 8], prefillLatency: [9, 8 * 16 * 1e-5] },
        { label: 'input 32', batchSize: [1], prefillLatency: [32 * 1e-5] },
      ],
    );
  });

  test('a point without decode steps has none to draw', () => {
    const { median_decode_latency, median_decode_throughput, ...row } = point(1, 16);
    assert.deepEqual(sweepLines([row])[0]!.decodeLatency, [null]);
  });

  test('of 50,000 requests a page gets 20,000, the slowest and every failure message among them', () => {
    const requests = Array.from({ length: 50_000 }, (_, index): RequestTimes => {
      const sent = index * 0.001;
      const isSlow = index === 33_333;
      return {
        ...{ index, turn: 0, due: sent, sent, first: sent + 0.01, end: sent + (isSlow ? 60 : 0.1), promptLen: 1 },
        ...{ outputLen: 3, gaps: [0.045, isSlow ? 59.945 : 0.045], error: '' },
      };
    });
    const { timeline, ttft, itl, cdf, concurrency } = servingCharts(requests, 94);
    assert.equal(timeline.index.length, 20_000);
    assert.equal(timeline.total, 50_000);
    assert.ok(timeline.index.includes(33_333));
    assert.deepEqual(
      timeline.sent,
      timeline.sent.toSorted((a, b) => a - b),
    );
    for (const points of [ttft, itl, cdf.itl, cdf.e2e, concurrency]) assert.ok(points.x.length <= 20_000);
    assert.equal(Math.max(...itl.y), 59.945);
    assert.equal(cdf.e2e.x.at(-1), 60);
    assert.equal(itl.total, 100_000);
  });

  test('rows of several files: runs with and without charts, sweeps, a name for each', () => {
    const row = rowOf(simulateRun({ requests: 5, seed: 1, concurrency: 2 }));
    const { starts: _, ...bare } = row;
    const files = [
      { path: 'a/x.jsonl', rows: [row, bare] },
      { path: 'b/x.jsonl', rows: [{ ...point(1, 16) }] },
    ];
    const { runs, sweep, tables } = resultsReport('both', files, [{ title: 'C', columns: ['a'], rows: [] }], []);
    assert.deepEqual(
      runs.map(({ label, charts }) => [label, charts !== undefined]),
      [
        ['a/x.jsonl run 1', true],
        ['a/x.jsonl run 2', false],
      ],
    );
    assert.equal(sweep.length, 1);
    assert.deepEqual(
      tables.map(({ title }) => title),
      ['C', 'Latencies', 'All other figures', 'Points of the sweep'],
    );
  });

  test('a file of results, a folder and a path without a name are refused before anything is measured', async () => {
    const file = join(folder, 'results.jsonl');
    const refused = (path: string, message: RegExp) =>
      assert.rejects(prepareReport(path, ['', file]), { code: 'INVALID_OPTION', param: '--report', message });
    await refused(file, /it would replace the results/);
    await refused(join(folder, 'x', '..', 'results.jsonl'), /it would replace the results/);
    await refused(folder, /it is a folder/);
    await refused('', /expected the name of a file/);
    await prepareReport(join(folder, 'new', 'report.html'), [file]);
  });

  test('where it cannot be written the error names the flag', async () => {
    const data = sweepReport('t', [point(1, 16)], []);
    await assert.rejects(writeReport(join(folder, 'missing', 'r.html'), data), {
      code: 'BENCH_FAILED',
      param: '--report',
    });
  });
});

const SERVING_CHARTS = [
  ...['ttft-cdf', 'tpot-cdf', 'itl-cdf', 'e2e-cdf', 'ttft-over-time', 'itl-over-time'],
  ...['output-throughput', 'input-throughput', 'requests-throughput', 'concurrency', 'timeline'],
];
const SWEEP_CHARTS = ['prefill-latency', 'prefill-throughput', 'decode-latency', 'decode-throughput'];

const chromium = findChromium();

describe('report in a browser', { skip: chromium === undefined ? NO_CHROMIUM : false }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchChromium(chromium!);
  });
  after(() => browser.close());

  const open = (path: string, use: (report: ReportPage) => Promise<void>) => ReportPage.open(browser, path, use);

  test('of a real run: every chart drawn, tooltips, logarithmic axes, zoom, dark colours, paper', async () => {
    const server = await FakeLlmServer.start((index) => (index % 7 === 3 ? 'too-many' : 'good'));
    const path = join(folder, 'run.html');
    const { options } = parseArguments(
      BENCH_SERVING,
      [
        ...['--base-url', server.url, '--tokenizer', TOKENIZER, '--output-file', join(folder, 'run.jsonl')],
        ...['--dataset-name', 'random', '--num-prompts', '30', '--random-input', '6', '--random-output', '6'],
        ...['--warmup-requests', '0', '--max-concurrency', '4', '--report', path, '--plot-throughput'],
        ...['--disable-tqdm', '--tag', HOSTILE],
      ],
      {},
    );
    const printed: string[] = [];
    try {
      await benchServing(options, {
        output: { print: (line) => printed.push(line), warn: () => {} },
        interrupt: new AbortController().signal,
        environment: {},
        addon: createFakeAddon,
      });
    } finally {
      await server.close();
    }
    for (const title of ['Output throughput (tok/s) over time (s)', 'Concurrent requests over time (s)']) {
      assert.ok(printed.includes(title), title);
    }
    assert.equal(printed.at(-1), `Report: ${path}`);

    await open(path, async (report) => {
      const { page } = report;
      assert.deepEqual(await report.charts(), SERVING_CHARTS);
      for (const chart of SERVING_CHARTS) await report.assertDrawn(chart, 1);
      await report.assertPainted('timeline', ['--failed', '--prefill', '--decode', '--queue']);
      assert.equal(await page.locator('.card', { hasText: 'Successful requests' }).locator('b').innerText(), '26');
      assert.match(await page.locator('.failures').innerText(), /4 × HTTP 429 .*slow down/);
      assert.match(await page.locator('dl').last().innerText(), /--max-concurrency\s+4/);
      assert.equal(await page.evaluate('window.broken'), undefined);
      assert.ok((await page.locator('main').innerText()).includes('window.broken = 1'));

      assert.match(await report.hover('e2e-cdf', 0.9, 0.5), /latency: [\d.]+ (ms|µs|s)\nrun 1: [\d.]+ %/);
      assert.match(await report.hover('timeline', 0.5, 0.02), /^Request 0\nPrompt: \d tokens\nOutput: 6 tokens\n/);

      const linear = await report.colours('ttft-cdf');
      await page.getByLabel('Logarithmic latency').first().check();
      assert.notDeepEqual(await report.colours('ttft-cdf'), linear);
      await report.assertDrawn('ttft-cdf', 1);

      const whole = await report.colours('timeline');
      await page.locator('[data-chart=timeline] .chart').press('+');
      assert.notDeepEqual(await report.colours('timeline'), whole);
      await page.getByRole('button', { name: 'Show the whole run' }).press('Enter');
      assert.deepEqual(await report.colours('timeline'), whole);
      await page.getByLabel('Rows').selectOption('packed into lanes');
      assert.notDeepEqual(await report.colours('timeline'), whole);
      assert.match(await page.locator('[data-chart=timeline] figcaption').innerText(), /Lanes do not show the wait/);

      assert.equal(await report.ground(), 'rgb(255, 255, 255)');
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.equal(await report.ground(), 'rgb(20, 23, 28)');
      for (const chart of SERVING_CHARTS) await report.assertDrawn(chart, 1);
      await page.emulateMedia({ colorScheme: 'light' });
      await page.getByLabel('Colours').selectOption('dark');
      assert.equal(await report.ground(), 'rgb(20, 23, 28)');
      await report.assertDrawn('concurrency', 1);
      // Paper is light, whatever the screen is.
      await page.evaluate(`dispatchEvent(new Event('beforeprint'))`);
      assert.equal(await report.ground(), 'rgb(255, 255, 255)');
      await page.evaluate(`dispatchEvent(new Event('afterprint'))`);
      assert.equal(await report.ground(), 'rgb(20, 23, 28)');
    });
  });

  test('of two files: a line for each in every chart, a legend for the keyboard, the comparison', async () => {
    const path = join(folder, 'two.html');
    const rows = [1, 2].map((seed) => rowOf(simulateRun({ requests: 40, seed, concurrency: 3 * seed })));
    const { starts: _, ...bare } = rows[0]!;
    const files = await Promise.all(
      [...rows, bare].map(async (row, i) => {
        const file = join(folder, `${i + 1}.jsonl`);
        await writeFile(file, `${JSON.stringify(row)}\n`);
        return file;
      }),
    );
    const { options } = parseArguments(BENCH_COMPARE, [...files, '--report', path], {});
    const printed: string[] = [];
    await benchCompare(options, { print: (line) => printed.push(line), warn: () => {} });
    assert.equal(printed.at(-1), `Report: ${path}`);
    await open(path, async (report) => {
      const { page } = report;
      for (const chart of SERVING_CHARTS) await report.assertDrawn(chart, chart === 'timeline' ? 1 : 2);
      assert.match(await page.locator('main').innerText(), /1 of 3 runs have no charts/);
      const comparison = page.locator('table', { hasText: 'bench-serving dataset_name=' }).first();
      assert.match(await comparison.innerText(), /metric\s+a\s+b\s+difference.*\n(?:.*\n)*median_ttft_ms\s+\d/);

      assert.match(await report.hover('e2e-cdf', 0.5, 0.5), /1\.jsonl: [\d.]+ %\n2\.jsonl: [\d.]+ %/);
      const box = page.getByRole('checkbox', { name: '2.jsonl' });
      await box.focus();
      await page.keyboard.press('Space');
      assert.equal(await box.isChecked(), false);
      assert.doesNotMatch(await report.hover('e2e-cdf', 0.6, 0.4), /2\.jsonl/);
      const second = await report.variable('--series-1');
      for (const chart of SERVING_CHARTS.slice(0, -1)) {
        assert.equal((await report.colours(chart)).get(second) ?? 0, 0, `${chart} still shows the second run`);
      }
      // A hidden line stays hidden when the chart is drawn anew.
      await page.getByLabel('Logarithmic latency').first().check();
      assert.equal((await report.colours('e2e-cdf')).get(second) ?? 0, 0);
      await box.check();
      await report.assertDrawn('e2e-cdf', 2);

      const first = await report.colours('timeline');
      await page.getByLabel('Run', { exact: true }).selectOption('2.jsonl');
      assert.notDeepEqual(await report.colours('timeline'), first);
    });
  });

  test('of a sweep: a line for each length, its highest point inside the chart', async () => {
    const path = join(folder, 'sweep.html');
    const rows = [1, 2, 4, 8].flatMap((batchSize) => [point(batchSize, 16), point(batchSize, 64)]);
    await writeReport(path, sweepReport('bench-one-batch', rows, []));
    await open(path, async (report) => {
      const { page } = report;
      assert.deepEqual(await report.charts(), SWEEP_CHARTS);
      for (const chart of ['prefill-latency', 'decode-latency']) {
        assert.ok((await report.colours(chart)).has(await report.variable('--series-0')), chart);
      }
      await report.assertDrawn('prefill-latency', 2);
      // All lines end at the same batch size: none of their last points may be forgotten.
      await report.assertPainted('prefill-latency', ['--series-1'], 0.9);
      assert.match(
        await report.hover('prefill-latency', 0.98, 0.1),
        /input 16: 1\.28 ms at 8\ninput 64: 5\.12 ms at 8/,
      );
      await page.getByLabel('Logarithmic batch size').check();
      await page.getByLabel('Logarithmic figures').check();
      await report.assertPainted('prefill-latency', ['--series-0', '--series-1'], 0.9);
      assert.match(await page.locator('table').innerText(), /default\s+8\s+64\s+8\s+5\.120/);
    });
  });

  test('nothing that a server or a file says is taken for part of the page', async () => {
    const path = join(folder, 'hostile.html');
    const run = simulateRun({ requests: 20, seed: 1, concurrency: 2, error: HOSTILE });
    const reported = [1, 2].map((number) => ({
      label: `${HOSTILE} ${number}`,
      row: rowOf(run, ['--tag', HOSTILE]),
      run,
    }));
    await writeReport(path, servingReport(HOSTILE, reported, [{ title: HOSTILE, facts: [[HOSTILE, HOSTILE]] }]));
    await open(path, async (report) => {
      const { page } = report;
      assert.equal(await page.evaluate('window.broken'), undefined);
      assert.equal(await page.title(), HOSTILE);
      assert.ok((await page.locator('h1').textContent())!.includes(HOSTILE));
      assert.ok((await page.locator('.failures li').first().textContent())!.includes(HOSTILE));
      assert.equal(await page.locator('main img, main script').count(), 0);
      assert.ok((await report.hover('timeline', 0.5, 0.475)).includes('window.broken'), 'the message of a failure');
    });
  });

  test('fits a small window', async () => {
    const path = join(folder, 'small.html');
    const run = simulateRun({ requests: 20, seed: 1, concurrency: 2 });
    await writeReport(path, servingReport('bench-serving', [{ label: 'run 1', row: rowOf(run), run }], []));
    await open(path, async (report) => {
      const { page } = report;
      await page.setViewportSize({ width: 360, height: 640 });
      await report.becomes('document.documentElement.scrollWidth <= innerWidth');
      await report.assertDrawn('e2e-cdf', 1);
    });
  });

  test('is one file without addresses of others', async () => {
    const path = join(folder, 'own.html');
    await writeReport(path, sweepReport('bench-one-batch', [point(1, 16)], []));
    const html = await readFile(path, 'utf8');
    assert.doesNotMatch(html, /(?:src|href)="(?!data:)/);
    assert.doesNotMatch(html, /url\((?!data:)/);
    assert.match(html, /default-src 'none'/);
  });
});
