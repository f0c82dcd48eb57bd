// The loop of a worker process: one JSON object a line in, one out. An engine is { load, run, close }.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Highest resident memory of this process so far, in bytes. */
function peakResidentBytes() {
  const kibibytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(kibibytes[1]) * 1024;
}

/**
 * `load(settings)` makes the model ready for the workloads. `run({ batch, input, output })` prefills `batch` prompts of
 * `input` tokens, then does `output - 1` decode steps, and resolves with { prefillMs, decodeMs (of all steps), tokens (of the
 * first sequence) }.
 */
export function serve({ load, run, close }) {
  const lines = createInterface({ input: process.stdin });
  const answer = (object) => process.stdout.write(`${JSON.stringify(object)}\n`);
  let last = Promise.resolve();
  const handle = async (line) => {
    const { type, ...body } = JSON.parse(line);
    const begin = performance.now();
    if (type === 'load') {
      await load(body);
      answer({ loadMs: performance.now() - begin });
    } else if (type === 'run') {
      const result = await run(body);
      answer({ ...result, runMs: performance.now() - begin, peakBytes: peakResidentBytes() });
    }
  };
  lines.on('line', (line) => {
    last = last.then(() => handle(line)).catch((error) => answer({ error: error.stack ?? String(error) }));
  });
  lines.on('close', () => {
    last.then(close).then(() => process.exit(0));
  });
}

/** The same prompts for every engine. */
export function promptsOf({ batch, input }, vocab) {
  return Array.from({ length: batch }, (_, sequence) =>
    Array.from({ length: input }, (_, i) => 300 + ((sequence * 7919 + i * 104729) % (vocab - 300))),
  );
}
