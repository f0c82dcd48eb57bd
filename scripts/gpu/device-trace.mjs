// What a profile of a serving run shows of the GPU, and what is wrong with it.
const DEVICE_CATEGORIES = new Set(['kernel', 'gpu_memcpy', 'gpu_memset']);
const LAUNCH_CATEGORIES = new Set(['cuda_runtime', 'cuda_driver']);
const LEAST_NAMED = 0.9;
const LEAST_KERNELS_A_STEP = 5;

/**
 * @param {readonly any[]} events of the trace
 * @param {number} steps that it holds
 */
export function describeDevice(events, steps) {
  const spans = events.filter(({ ph }) => ph === 'X');
  const work = spans.filter(({ cat }) => DEVICE_CATEGORIES.has(cat)).sort((a, b) => a.ts - b.ts);
  const kernels = work.filter(({ cat }) => cat === 'kernel');
  const launches = new Set(spans.filter(({ cat }) => LAUNCH_CATEGORIES.has(cat)).map(({ args }) => args?.correlation));
  const named = kernels.filter(({ args }) => typeof args?.module === 'string' && args.module !== '').length;
  const problems = [];
  if (kernels.length < steps * LEAST_KERNELS_A_STEP) problems.push(`${kernels.length} kernels in ${steps} steps`);
  if (named < LEAST_NAMED * kernels.length)
    problems.push(`${named} of ${kernels.length} kernels carry the name of a layer`);
  const unlaunched = kernels.filter(({ args }) => !launches.has(args?.correlation)).length;
  if (unlaunched > 0) problems.push(`${unlaunched} kernels without the call that launched them`);
  problems.push(...overlaps(work));
  return { kernels: kernels.length, copies: work.length - kernels.length, named, problems };
}

/** What runs on one stream runs one after the other. */
function overlaps(work) {
  const ends = new Map();
  let count = 0;
  for (const { ts, dur, args } of work) {
    const end = ends.get(args?.stream);
    if (end !== undefined && ts < end - 0.001) count++;
    ends.set(args?.stream, Math.max(end ?? 0, ts + dur));
  }
  return count === 0 ? [] : [`${count} kernels or copies begin before the one before them on their stream has ended`];
}
