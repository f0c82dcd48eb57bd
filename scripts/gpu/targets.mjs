// The speeds that are aimed at, from what was measured beside what the GPU can do. Judged apart from correctness.
const MIB = 2 ** 20;
/** Below this, what a launch takes counts for more than the bytes do. */
const LEAST_BYTES = 128 * MIB;
const DECODE_ATTENTION = 0.85;
const PREFILL_ATTENTION = 0.6;
const DECODE_STEP = 0.85;
const MOST_IDLE_US = 20;

/**
 * One entry for each target that something was measured of: { name, measured, target, met }.
 *
 * @param {object} found of the parts that ran
 * @param {readonly any[]} [found.cases] lines of `kernel_bench --json`
 * @param {readonly any[]} [found.steps] rows of bench-one-batch, with the bytes a decode step must read at least
 * @param {any} [found.serving] what serving.mjs prints
 */
export function judge({ cases = [], steps = [], serving = null }) {
  return [...attentionTargets(cases), ...stepTargets(steps, copyRate(cases)), ...idleTargets(serving)];
}

/** Bytes per second of a copy within the device; undefined where it was not measured. */
export function copyRate(cases) {
  const found = cases.find((each) => each.limit_gbps > 0);
  return found === undefined ? undefined : found.limit_gbps * 1e9;
}

function attentionTargets(cases) {
  const rows = cases.filter(({ op }) => /^bfloat16 attention bfloat16 h32\/8 d128 /.test(op));
  const bytes = ({ gbps, median_us }) => gbps * 1e3 * median_us;
  const decode = rows.filter((row) => / q1 s\d+$/.test(row.op) && bytes(row) >= LEAST_BYTES);
  const prefill = rows.filter((row) => / q16384 s16384$/.test(row.op));
  return [
    ...decode.map((row) =>
      atLeast(`${row.op}: share of the copy bandwidth`, row.gbps / row.limit_gbps, DECODE_ATTENTION),
    ),
    ...prefill.map((row) =>
      row.limit_gflops > 0
        ? atLeast(`${row.op}: share of cuBLAS’ rate`, row.gflops / row.limit_gflops, PREFILL_ATTENTION)
        : { name: `${row.op}: cublasLt was not found`, measured: null, target: PREFILL_ATTENTION, met: false },
    ),
  ];
}

function stepTargets(steps, bytesPerSecond) {
  if (bytesPerSecond === undefined) return [];
  return steps
    .filter(({ median_decode_latency: seconds }) => seconds > 0)
    .map(({ batch_size, input_len, quantization, decodeBytes, median_decode_latency: seconds }) =>
      atLeast(
        `decode step${quantization ? ` in ${quantization}` : ''}, batch ${batch_size}, context ${input_len}: share of the copy bandwidth`,
        decodeBytes / bytesPerSecond / seconds,
        DECODE_STEP,
      ),
    );
}

function idleTargets(serving) {
  const idle = serving?.device?.idleBetweenSteps;
  if (idle === undefined || idle === null) return [];
  return [
    {
      name: 'GPU idle between steps, median, µs',
      measured: round(idle.p50Us),
      target: MOST_IDLE_US,
      met: idle.p50Us < MOST_IDLE_US,
    },
  ];
}

const round = (value) => Number(value.toPrecision(4));
const atLeast = (name, measured, target) => ({ name, measured: round(measured), target, met: measured >= target });
