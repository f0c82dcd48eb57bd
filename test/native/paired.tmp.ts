import { TestEngine, TestSequence } from '../support/native-engine.js';

const engine = await TestEngine.load('stories260K', {
  maxContextLength: 512,
  numBlocks: 512,
  cpuThreads: Number(process.env.T ?? 1),
});
const R = Number(process.env.R ?? 1);
const off: number[] = [],
  on: number[] = [],
  offP: number[] = [],
  onP: number[] = [];
for (let round = 0; round < 60; round++) {
  const seqs = Array.from({ length: R }, (_, i) => new TestSequence(i, engine.blocksFor(i, 256)));
  await engine.step(seqs.map((s) => s.next([1, 2, 3, 4])));
  const flags: number[] = [];
  const pending: Promise<any>[] = [];
  const outs: any[] = [];
  for (let i = 0; i < 200; i++) {
    const profile = (i + round) & 1;
    flags.push(profile);
    pending.push(
      engine.step(
        seqs.map((s) => s.decode()),
        { header: { profile } },
      ),
    );
    if (pending.length >= 4) outs.push(await pending.shift());
  }
  outs.push(...(await Promise.all(pending)));
  const s = outs.map((o) => Number(o.nanoseconds('start')));
  outs.forEach((o, i) => {
    (flags[i] ? on : off).push(Number(o.nanoseconds('end')) - s[i]!);
    if (i + 1 < outs.length) (flags[i] ? onP : offP).push(s[i + 1]! - s[i]!);
  });
}
const med = (a: number[]) => a.toSorted((x, y) => x - y)[a.length >> 1]!;
console.log(
  'R',
  R,
  'step off',
  med(off),
  'on',
  med(on),
  ((med(on) / med(off) - 1) * 100).toFixed(2) + '%',
  'period off',
  med(offP),
  'on',
  med(onP),
  ((med(onP) / med(offP) - 1) * 100).toFixed(2) + '%',
);
engine.close();
