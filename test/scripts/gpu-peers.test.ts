// gpu-peers.py without PyTorch: what it says then, and its comparison of a report with an earlier measurement.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/temporary-directory.js';

const script = fileURLToPath(new URL('../../scripts/gpu-peers.py', import.meta.url));
const noPython = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not on this machine';

/** Its exit code and the JSON object that it prints last; `torch` cannot be imported. */
function run(args: readonly string[], folder: string): { status: number | null; printed: Record<string, unknown> } {
  writeFileSync(join(folder, 'torch.py'), 'raise ImportError("not here")\n');
  const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
  const { status, stdout, stderr } = spawnSync('python3', [script, ...args], { cwd: folder, env, encoding: 'utf8' });
  assert.equal(stderr, '');
  return { status, printed: JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, unknown> };
}

describe('gpu-peers.py', { skip: noPython }, () => {
  it('without PyTorch says so and is no failure', async (t) => {
    const { status, printed } = run([], await temporaryDirectory(t));
    assert.deepEqual([status, printed], [0, { skipped: 'PyTorch is not installed' }]);
  });

  it('sets what both measured side by side', async (t) => {
    const folder = await temporaryDirectory(t);
    const kernel = (op: string, median_us: number) => ({ op, median_us });
    const report = {
      parts: {
        kernels: {
          cases: [
            kernel('bfloat16 linear bfloat16 m1 n4096 k4096', 12),
            kernel('float16 linear float16 m8 n4096 k4096', 13), // another dtype
            kernel('bfloat16 attention bfloat16 h32/8 d128 b16 r32 q1 s16384', 800),
            kernel('bfloat16 moe bfloat16 t1 h2048 i768 e128/8', 30), // theirs has none
          ],
        },
        steps: {
          rows: [
            { batch_size: 1, input_len: 1024, median_decode_latency: 0.005 },
            { batch_size: 1, input_len: 1024, median_decode_latency: 0.003, quantization: 'fp8' }, // theirs has 16 bits
            { batch_size: 32, input_len: 512, median_decode_latency: 0.006 }, // another context
          ],
        },
      },
    };
    const theirs = {
      'linear bfloat16 m1 n4096 k4096': { us: 15, by: 'torch.mm' },
      'linear float16 m8 n4096 k4096': { us: 15, by: 'torch.mm' },
      'attention bfloat16 h32/8 d128 b16 r32 q1 s16384': { us: 1000, by: 'sdpa' },
      'decode step b1 s1024': { us: 6000, by: 'transformers' },
      'decode step b32 s1024': { us: 9000, by: 'transformers' },
    };
    const path = (name: string) => join(folder, name);
    writeFileSync(path('report.json'), JSON.stringify(report));
    writeFileSync(path('measured.json'), JSON.stringify({ versions: {}, theirs, problems: [] }));
    const args = ['--report', path('report.json'), '--measured', path('measured.json'), '--out', path('out.json')];
    const { status, printed } = run(args, folder);
    assert.equal(status, 0);
    const rows = printed.rows as { op: string; ratio: number }[];
    assert.deepEqual(
      rows.map(({ op, ratio }) => [op, ratio]),
      [
        ['linear bfloat16 m1 n4096 k4096', 1.25],
        ['attention bfloat16 h32/8 d128 b16 r32 q1 s16384', 1.25],
        ['decode step b1 s1024', 1.2],
      ],
    );
    assert.deepEqual(JSON.parse(readFileSync(path('out.json'), 'utf8')), printed);
  });

  it('a report without figures leaves nothing to compare', async (t) => {
    const folder = await temporaryDirectory(t);
    writeFileSync(join(folder, 'measured.json'), JSON.stringify({ theirs: { a: { us: 1, by: 'b' } } }));
    const { printed } = run(['--measured', 'measured.json', '--report', 'missing.json'], folder);
    assert.deepEqual(printed.rows, []);
  });
});
