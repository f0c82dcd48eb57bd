// The progress bar: what it shows on a terminal, and that it is silent elsewhere.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { liveFigures, Progress } from '#vitrine/bench/serving/progress.js';
import { withBusyNotice } from '#vitrine/bench/terminal/busy-notice.js';
import { record } from '../support/bench-records.js';

/** A stream that takes down what is written; as a terminal it is wide enough for one line. */
function notebook(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  const terminal = { isTTY, columns: 400, cursorTo: () => true, clearLine: () => true, moveCursor: () => true };
  return { stream: Object.assign(stream, terminal) as unknown as NodeJS.WriteStream, text: () => text };
}

test('on a terminal: run, count, failures, medians and rates', () => {
  const { stream, text } = notebook(true);
  const progress = new Progress({ total: 3, label: 'Run 2/5 ', stream, isDisabled: false });
  progress.add(record({}));
  progress.add(record({ index: 1, error: 'HTTP 500' }));
  progress.add(record({ index: 2, sentAt: 102, endedAt: 104 }));
  progress.stop();
  assert.match(
    text(),
    /Run 2\/5 .* 3\/3 \|.*\| failed 1 \| p50 TTFT 500\.0 ms TPOT 500\.0 ms E2E 2000\.0 ms \| 0\.5 req\/s 2\.0 tok\/s/,
  );
});

test('elsewhere, or when it is disabled: nothing', () => {
  for (const [isTTY, isDisabled] of [
    [false, false],
    [true, true],
  ] as const) {
    const { stream, text } = notebook(isTTY);
    const progress = new Progress({ total: 1, label: '', stream, isDisabled });
    progress.add(record({}));
    progress.stop();
    assert.equal(text(), '');
  }
});

test('long work of the client is told on a terminal, and taken away', async () => {
  const { stream, text } = notebook(true);
  // However slow the machine: it ends once the line has come.
  const work = async () => {
    while (!/Counting tokens… \d+ s/.test(text())) await new Promise((resolve) => setTimeout(resolve, 20));
    return 7;
  };
  assert.equal(await withBusyNotice('Counting tokens', stream, work), 7);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(text().endsWith('\r\x1b[K'));
  const quick = notebook(true);
  const silent = notebook(false);
  for (const { stream } of [quick, silent]) assert.equal(await withBusyNotice('x', stream, async () => 5), 5);
  assert.equal(quick.text() + silent.text(), '');
});

test('the figures are those of the last ten seconds', () => {
  const at = (endedAt: number, ttft: number) => record({ sentAt: endedAt - 2, endedAt, ttft });
  const old = Array.from({ length: 50 }, (_, i) => at(100 + i / 100, 1));
  const recent = [at(120, 0.2), at(121, 0.3), at(122, 0.1)];
  // Two requests of four tokens ended in the two seconds after the first of them.
  assert.match(liveFigures([...old, ...recent]), /TTFT 200\.0 ms .* \| 1\.0 req\/s 4\.0 tok\/s$/);
  assert.equal(liveFigures([]), '');
  assert.match(liveFigures([at(5, 0.5)]), /TTFT 500\.0 ms .*… req\/s … tok\/s$/);
});
