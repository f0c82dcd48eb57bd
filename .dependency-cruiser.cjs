// The floors of src/: an import goes to a lower floor or stays in its own folder.
const FLOORS = [
  ['util'],
  ['native', 'messages', 'config'],
  ['kv-cache', 'model', 'tokenizer', 'trace'],
  ['engine'],
  ['scheduler', 'frontend'],
  ['runtime'],
  ['server'],
  ['bench'],
  ['cli'],
];

const rules = FLOORS.flatMap((folders, floor) =>
  folders.map((folder) => {
    const allowed = [folder, ...FLOORS.slice(0, floor).flat()];
    return {
      name: `${folder}-imports-downwards`,
      severity: 'error',
      comment: `src/${folder} may import only itself and lower floors: ${allowed.join(', ')}`,
      from: { path: `^src/${folder}/` },
      to: { path: '^src/', pathNot: `^src/(${allowed.join('|')})/` },
    };
  }),
);

module.exports = {
  forbidden: [
    ...rules,
    {
      name: 'no-circles',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'every-folder-has-a-floor',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/(index\\.ts|(${FLOORS.flat().join('|')})/)` },
      to: {},
    },
    {
      name: 'only-declared-packages',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev', 'unknown'] },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
