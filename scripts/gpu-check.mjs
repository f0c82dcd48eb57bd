// What a machine with a GPU has to say: builds, runs every check that needs one, measures, and writes a JSON report after
// each part. A part that fails does not keep the others from running. See docs/gpu-check.md.
//   scripts/gpu-check [--quick] [--only PART,...] [--minutes M] [--seconds S] [--report FILE]
// Exit code 0: everything is right; speeds that miss their targets are listed and change nothing.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { addLibraryFolders, describeMachine, probeDevice, pythonLibraryFolders } from './gpu/machine.mjs';
import { PARTS } from './gpu/parts.mjs';
import { judge } from './gpu/targets.mjs';

function refuse(text) {
  console.error(text);
  process.exit(1);
}

function parse() {
  try {
    return parseArgs({
      options: {
        report: { type: 'string', default: 'gpu-check.json' },
        seconds: { type: 'string' },
        minutes: { type: 'string', default: '60' },
        only: { type: 'string' },
        quick: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return refuse(`gpu-check: ${error.message}; options: --report --seconds --minutes --only --quick`);
  }
}

const options = parse();

function positive(flag, text) {
  const value = Number(text);
  return value > 0 ? value : refuse(`--${flag}: expected a positive number, got '${text}'`);
}

function wantedParts() {
  const names = Object.keys(PARTS);
  if (options.only === undefined) return names.filter((name) => !options.quick || PARTS[name].quick);
  const wanted = options.only.split(',');
  const unknown = wanted.find((name) => !Object.hasOwn(PARTS, name));
  if (unknown !== undefined) refuse(`--only: expected some of ${names.join(', ')}, got '${unknown}'`);
  return names.filter((name) => wanted.includes(name));
}

/** Why a part is not well, in few words. */
function reasonOf(outcome) {
  const failed = outcome.tests?.filter(({ ok }) => !ok).map(({ name }) => name) ?? [];
  const problems = [...failed, ...(outcome.problems ?? []), ...(outcome.different ?? [])].slice(0, 5);
  return outcome.skipped ?? outcome.reason ?? (outcome.ok ? '' : problems.join('; ') || outcome.tail?.at(-1) || '');
}

const caseSeconds = positive('seconds', options.seconds ?? (options.quick ? '0.05' : '0.2'));
const end = Date.now() + positive('minutes', options.minutes) * 60_000;
const libraryFolders = pythonLibraryFolders();
addLibraryFolders(libraryFolders);
const document = {
  started: new Date().toISOString(),
  machine: { ...describeMachine(), libraryFolders },
  device: null,
  parts: {},
  targets: [],
};
console.log(`GPU: ${document.machine.gpu?.join('; ') ?? 'nvidia-smi names none'}; commit ${document.machine.commit}`);

for (const name of wantedParts()) {
  const begun = Date.now();
  const seconds = Math.min(PARTS[name].minutes * 60, (end - begun) / 1000);
  if (name !== 'build') document.device ??= probeDevice();
  let outcome;
  try {
    if (seconds < 1) outcome = { ok: false, reason: `no time is left of --minutes ${options.minutes}` };
    else if (name !== 'build' && !document.device.ok) {
      outcome = { ok: false, reason: `no GPU can be used: ${document.device.reason}` };
    } else outcome = await PARTS[name].run({ seconds, caseSeconds, quick: options.quick, report: options.report });
  } catch (error) {
    outcome = { ok: false, reason: String(error?.message ?? error), stack: String(error?.stack ?? '') };
  }
  document.parts[name] = outcome;
  const { kernels, steps, serving } = document.parts;
  document.targets = judge({ cases: kernels?.cases, steps: steps?.rows, serving });
  document.passed = Object.values(document.parts).every(({ ok }) => ok);
  document.targetsMet = document.targets.filter(({ met }) => met).length;
  writeFileSync(options.report, `${JSON.stringify(document, null, 2)}\n`); // after each part: a crash keeps the others
  const verdict = outcome.skipped ? 'skipped' : outcome.ok ? 'ok' : 'FAILED';
  const why = reasonOf(outcome);
  console.log(`${name}: ${verdict} (${((Date.now() - begun) / 1000).toFixed(1)} s)${why === '' ? '' : `: ${why}`}`);
}
for (const { name, measured, target, met } of document.targets) {
  console.log(`${met ? 'target met' : 'target MISSED'}: ${name}: ${measured} (target ${target})`);
}
console.log(`${document.passed ? 'All passed' : 'Not all passed'}; report: ${options.report}`);
process.exitCode = document.passed ? 0 : 1;
