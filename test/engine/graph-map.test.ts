// The list that names the nodes of CUDA graphs for other tools.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeGraphMap } from '#vitrine/engine/profiler/graph-map.js';
import { temporaryDirectory } from '../support/temporary-directory.js';

test('every node of a replay, in order, with the range to look for', async (t) => {
  const directory = join(await temporaryDirectory(t), 'made');
  const path = await writeGraphMap(directory, [
    {
      ...{ batchSize: 8, range: 'cuda_graph_replay bs 8' },
      ops: [
        { op: 'resolve_token_ids', module: null, nodes: 1 },
        { op: 'attn', module: 'model.layers.0.self_attn.attn', nodes: 2 },
      ],
    },
  ]);
  assert.equal(path, join(directory, `vitrine-${process.pid}.cuda-graphs.json`));
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), {
    version: 1,
    graphs: [
      {
        ...{ batchSize: 8, range: 'cuda_graph_replay bs 8' },
        nodes: [
          [null, 'resolve_token_ids', 1],
          ['model.layers.0.self_attn.attn', 'attn', 2],
        ],
      },
    ],
  });
});
