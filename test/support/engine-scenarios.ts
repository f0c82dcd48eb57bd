// Run as a process of its own: `engine-scenarios.ts <scenario>`. Ends of a native engine that would end a test runner.
import { Worker } from 'node:worker_threads';
import { prepareReferenceModel } from '../reference/reference-files.js';
import { TestEngine, TestSequence } from './native-engine.js';

const PROMPT = Array.from({ length: 200 }, (_, i) => i + 1);
const model = await prepareReferenceModel('tiny-llama3-rope', { dtype: 'float32' });

/** A Worker does not inherit tsx. */
const WORKER = `
  const { workerData } = require('node:worker_threads');
  import('tsx/esm/api').then(({ register }) => { register(); return import(workerData); });
`;

function busyEngine(steps: number): TestEngine {
  const engine = new TestEngine(model, { cpuThreads: 1 });
  for (let i = 0; i < steps; i++) {
    const sequence = new TestSequence(0, engine.blocksFor(0, PROMPT.length));
    engine.step([sequence.next(PROMPT)]).catch(() => {});
  }
  return engine;
}

const SCENARIOS: Record<string, () => unknown> = {
  /** Nothing runs: the process ends by itself though the engine is open. */
  idle: () => busyEngine(0),
  /** A step runs: the process waits for its result. */
  pending: () => {
    const engine = new TestEngine(model, { cpuThreads: 1 });
    const sequence = new TestSequence(0, engine.blocksFor(0, PROMPT.length));
    engine.step([sequence.next(PROMPT)]).then(() => console.log('delivered'));
  },
  exit: () => {
    busyEngine(50);
    process.exit(0);
  },
  'exit-while-two-run': () => {
    busyEngine(50);
    busyEngine(50);
    setTimeout(() => process.exit(0), 5);
  },
  collected: async () => {
    for (let i = 0; i < 8; i++) {
      busyEngine(i % 2)
        .step([])
        .catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 20));
      (globalThis as { gc?: () => void }).gc!();
    }
    console.log('collected');
  },
  'throwing-listener': async () => {
    process.on('uncaughtException', (error) => {
      console.log(`uncaught: ${error.message}`);
      process.exit(0);
    });
    const { loadAddon } = await import('#vitrine/native/load.js');
    const config = { device: 'cpu', spec: model.spec, cpuThreads: 1, cpuIsa: 'auto' } as const;
    const engine = new (loadAddon().Engine)(config, () => {
      throw new Error('from onStep');
    });
    engine.loadWeights(model.loadPlan);
    engine.initCache({ numBlocks: 4, blockSize: 16, maxRequests: 1, maxBatchTokens: 16, maxContextLength: 64 });
    engine.submit(new ArrayBuffer(0));
  },
  workers: async () => {
    const workers = Array.from(
      { length: 3 },
      () => new Worker(WORKER, { eval: true, argv: ['in-worker'], workerData: import.meta.url }),
    );
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
    busyEngine(3);
    await Promise.all(workers.map((worker) => worker.terminate()));
    console.log('terminated');
  },
  'in-worker': async () => {
    const { parentPort } = await import('node:worker_threads');
    const engine = busyEngine(3);
    const sequence = new TestSequence(1, engine.blocksFor(1, PROMPT.length));
    await engine.step([sequence.next(PROMPT)]);
    busyEngine(100);
    parentPort!.postMessage('running');
    setInterval(() => {}, 1000);
  },
};

await SCENARIOS[process.argv[2]!]!();
