// The packed tarball in an empty project elsewhere: with its prebuilt binary and, without one, by a source build.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

function run(cwd: string, command: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  assert.equal(status, 0, `${command} ${args.join(' ')} failed: ${error?.message ?? ''}\n${stdout}\n${stderr}`);
  return stdout;
}

const npmQuiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

describe('the packed tarball', { timeout: 600_000 }, () => {
  let scratch: string;
  let tarball: string;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'vitrine-pack-'));
    run(root, 'npm', ['pack', '--pack-destination', scratch, '--loglevel=error']);
    tarball = join(scratch, (await readdir(scratch)).find((name) => name.endsWith('.tgz'))!);
  });

  after(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  async function install(name: string, extra: string[]): Promise<string> {
    const project = await mkdtemp(join(scratch, name));
    await writeFile(join(project, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }));
    run(project, 'npm', ['install', tarball, ...npmQuiet, ...extra]);
    return project;
  }

  function generate(project: string): string {
    const model = join(project, 'node_modules/vitrine/models/stories260K');
    return run(project, 'npx', [
      'vitrine',
      'generate',
      '--model-path',
      model,
      '--prompt',
      'Once upon a time',
      '--max-new-tokens',
      '8',
      '--temperature',
      '0',
    ]);
  }

  it('runs from its prebuilt binary without any install script', async () => {
    const project = await install('prebuilt', ['--ignore-scripts']);
    const prebuilt = await readdir(join(project, 'node_modules/vitrine/prebuilds/linux-x64'));
    assert.deepEqual(prebuilt, ['vitrine.glibc.node']);
    assert.match(run(project, 'npx', ['vitrine', '--help']), /launch-server/);
    assert.match(generate(project), /there was/);
  });

  it('falls back to a source build when there is no prebuilt binary', async () => {
    const project = await install('source', ['--ignore-scripts']);
    const installed = join(project, 'node_modules/vitrine');
    await rm(join(installed, 'prebuilds'), { recursive: true });
    assert.match(run(project, 'npx', ['vitrine', '--help']), /launch-server/);
    run(project, 'npm', ['rebuild', 'vitrine', '--foreground-scripts', ...npmQuiet]);
    assert.match(generate(project), /there was/);
  });
});
