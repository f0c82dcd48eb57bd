// Run as a process of its own with an NVTX tool: `nvtx-scenarios.ts <model> <scenario>`.
import { loadAddon } from '#vitrine/native/load.js';
import { TestEngine, TestSequence } from './native-engine.js';

const [name, scenario] = process.argv.slice(2);
const engine = await TestEngine.load(name!, { cpuThreads: 2, nvtxMarkers: scenario !== 'silent' });
const sequence = new TestSequence(0, engine.blocksFor(0, 64));
await engine.step([sequence.next([1, 2, 3, 4, 5])], { stepId: 1 });
await engine.step([sequence.decode()], { stepId: 2, header: { mode: 1, profile: 1 } });
if (scenario === 'failing') {
  // Found only when the token is sampled, deep inside the step.
  const biases = { biasStart: [0, 512], biasIds: Array.from({ length: 512 }, (_, i) => i) };
  const suppressed = { ...biases, biasValues: Array<number>(512).fill(-Infinity) };
  const failed = await Promise.allSettled([
    engine.step([sequence.decode()], { stepId: 3, sections: suppressed }),
    engine.step([sequence.decode()], { stepId: 4 }),
  ]);
  console.log(failed.map((result) => (result.status === 'rejected' ? result.reason.message : 'done')).join('\n'));
}
if (scenario === 'javascript') {
  const addon = loadAddon();
  addon.rangePush('schedule "ü"');
  addon.rangePush('prefill');
  addon.rangePop();
  addon.rangePop();
}
engine.close();
