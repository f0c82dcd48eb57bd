// The tables themselves, and what is rendered from them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkValue } from '#vitrine/config/option-value.js';
import { renderOptionsPage } from '#vitrine/config/options-page.js';
import { acceptedOptions } from '#vitrine/config/program.js';
import { PROGRAMS } from '#vitrine/config/programs.js';
import { resolveOptions } from '#vitrine/config/resolve-options.js';
import { SCHEDULER_OPTIONS } from '#vitrine/config/tables/scheduler-options.js';

for (const program of PROGRAMS) {
  test(`${program.name}: names are unique, keys follow from flags, defaults are legal`, () => {
    const options = acceptedOptions(program);
    const names = options.flatMap((option) => [option.flag, ...(option.aliases ?? [])]);
    assert.equal(new Set(names).size, names.length, 'flag names');
    for (const option of options) {
      const camel = option.flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
      assert.equal(option.key, camel);
      if (option.default !== undefined) checkValue(option, option.default);
      assert.match(option.help, /[.?]$/, `${option.flag}: help is a sentence`);
      if (option.negatable) assert.equal(option.type, 'flag');
      for (const value of Object.keys(option.refused ?? {})) assert.ok(!option.choices?.includes(value), value);
    }
    for (const flag of [...program.unsupported, ...(program.multimodal ?? [])])
      assert.ok(!names.includes(flag), `--${flag} is supported`);
  });
}

test('the page has every option of every program once', () => {
  const page = renderOptionsPage();
  for (const program of PROGRAMS) {
    const section = page.split(/^## /m).find((part) => part.startsWith(`vitrine ${program.name}\n`));
    assert.ok(section !== undefined, program.name);
    for (const option of program.options) {
      const rows: string[] = section.split('\n').filter((line) => line.startsWith(`| \`--${option.flag}\``));
      assert.equal(rows.length, 1, `${program.name} --${option.flag}`);
    }
  }
  assert.ok(page.endsWith('\n'));
});

test('library callers get a complete, checked object', () => {
  const options = resolveOptions(SCHEDULER_OPTIONS, { modelPath: 'm', pageSize: 8 }, {});
  assert.equal(options.pageSize, 8);
  assert.equal(options.schedulePolicy, 'fcfs');
  const bad = (given: Record<string, unknown>, pattern: RegExp) =>
    assert.throws(() => resolveOptions(SCHEDULER_OPTIONS, given, {}), pattern);
  bad({}, /--model-path is required/);
  bad({ modelPath: 'm', pageSize: '8' }, /--page-size: expected an integer from 1 to 1024, got '8'/);
  bad({ modelPath: 'm', pagesize: 8 }, /unknown option pagesize/);
  bad({ modelPath: 3 }, /--model-path: expected text, got 3/);
});
