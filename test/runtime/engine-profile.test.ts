// The library's profiles: a real engine in this process, its files read by the independent checker.
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { Engine, type ProfileOptions, VitrineError } from '#vitrine/index.js';
import { modelDirectory } from '../reference/reference-files.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readTrace, recordingProblems, requestFlows, spansOf, stepsOf } from '../support/trace-checker.js';

let engine: Engine;
before(async () => {
  engine = await Engine.launch({
    modelPath: modelDirectory('stories260K'),
    memFractionStatic: 0.02,
    logLevel: 'silent',
  });
});
after(() => engine.close());

const samplingParams = { temperature: 0, ignoreEos: true, maxNewTokens: 12 } as const;

test('a profile of so many steps: the file has them, with the front end around them', async (t) => {
  const outputDir = await temporaryDirectory(t);
  const started = await engine.startProfile({ outputDir, numSteps: 5, withStack: false });
  assert.equal(started.outputDir, outputDir);
  await Promise.all(['Once', 'One day'].map((prompt) => engine.generate({ prompt, samplingParams })));
  const status = await waitFor(started.profileId);
  assert.deepEqual(
    [status.state, status.recordedSteps, status.endedBy, status.files.length],
    ['done', 5, 'num_steps', 1],
  );
  const trace = readTrace(status.files[0]!.path);
  assert.deepEqual(recordingProblems(trace), []);
  assert.equal(stepsOf(trace).length, 5);
  const names = new Set(spansOf(trace, 'tokenizer').map(({ name }) => name));
  for (const name of ['start to encode', 'send to scheduler', 'detokenize']) assert.ok(names.has(name), name);
  assert.equal(requestFlows(trace).size, 2);
});

test('a profile until it is stopped, with stacks', async (t) => {
  const outputDir = await temporaryDirectory(t);
  await engine.startProfile({ outputDir, activities: ['CPU'], mergeProfiles: true });
  await engine.generate({ prompt: 'Once upon a time', samplingParams });
  const status = await engine.stopProfile();
  assert.deepEqual([status.state, status.endedBy, status.recordedSteps], ['done', 'stop', 12]);
  assert.equal(status.merge!.state, 'done');
  assert.deepEqual(await engine.profileStatus(status.profileId), status);
  const trace = readTrace(status.files[0]!.path);
  assert.deepEqual(recordingProblems(trace), []);
  const [points] = requestFlows(trace).values();
  assert.ok(points!.length >= 12 + 3, `${points!.length} points: one a step, and those of the front end`);
});

test('a profile that waits for a far step is called off; another can begin', async (t) => {
  const outputDir = await temporaryDirectory(t);
  const { profileId, state } = await engine.startProfile({ outputDir, startIn: 1000, numSteps: 5 });
  assert.equal(state, 'armed');
  await engine.generate({ prompt: 'Once', samplingParams });
  await assert.rejects(engine.startProfile({ outputDir }), new RegExp(`${profileId} is armed.*stop_profile`));
  const status = await engine.stopProfile();
  assert.deepEqual([status.profileId, status.state, status.recordedSteps, status.files], [profileId, 'done', 0, []]);
  assert.deepEqual(await readdir(outputDir), []);
});

test('mistakes name the option as it was written', async () => {
  const cases: readonly [object, string, RegExp][] = [
    [{ numSteps: -1 }, 'INVALID_REQUEST', /^numSteps must be an integer/],
    [{ startStep: 3, startIn: 3 }, 'INVALID_REQUEST', /^startIn and startStep/],
    [{ steps: 5 }, 'INVALID_REQUEST', /^steps is not an option/],
    [{ activities: ['TPU'] }, 'INVALID_REQUEST', /^activities must be out of CPU/],
    [{ profileStages: ['decode'] }, 'INVALID_REQUEST', /^profileStages needs profileByStage/],
    [{ outputDir: '/dev/null/below' }, 'TRACE_NOT_WRITTEN', /\/dev\/null\/below/],
  ];
  for (const [options, code, words] of cases) {
    await assert.rejects(engine.startProfile(options as ProfileOptions), (error: unknown) => {
      assert.ok(error instanceof VitrineError, String(error));
      assert.deepEqual([error.code, words.test(error.message)], [code, true], error.message);
      return true;
    });
  }
  await assert.rejects(engine.stopProfile(), /not in progress/);
  assert.equal((await engine.generate({ prompt: 'Once', samplingParams })).completionTokens, 12);
});

async function waitFor(profileId: string) {
  for (;;) {
    const status = await engine.profileStatus(profileId);
    if (status!.state === 'done' || status!.state === 'failed') return status!;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
