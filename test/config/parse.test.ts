// The command line: prefixes, values, YAML, environment, and what is refused with which words.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseArguments } from '#vitrine/config/parse.js';
import { BENCH_ONE_BATCH, BENCH_ONE_BATCH_SERVER, BENCH_SERVING, LAUNCH_SERVER } from '#vitrine/config/programs.js';
import { VitrineError } from '#vitrine/util/errors.js';

const server = (argv: string[], env = {}) => parseArguments(LAUNCH_SERVER, ['--model-path', 'm', ...argv], env).options;
const serving = (argv: string[], env = {}) => parseArguments(BENCH_SERVING, argv, env).options;
const oneBatch = (argv: string[], env = {}) => parseArguments(BENCH_ONE_BATCH, ['--model', 'm', ...argv], env);
const batchServer = (argv: string[]) => parseArguments(BENCH_ONE_BATCH_SERVER, argv, {});

function refused(action: () => unknown, pattern: RegExp): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof VitrineError, String(error));
    assert.equal(error.code, 'INVALID_OPTION');
    assert.match(error.message, pattern);
    assert.ok(!error.message.includes('\n'), 'one line');
    return true;
  });
}

test('a dtype of the KV cache that is SGLang’s alone is refused with those that there are', () => {
  assert.equal(server(['--kv-cache-dtype', 'fp8_e4m3']).kvCacheDtype, 'fp8_e4m3');
  refused(() => server(['--kv-cache-dtype', 'fp8_e5m2']), /--kv-cache-dtype.*auto, fp8_e4m3, bf16, bfloat16.*fp8_e5m2/);
});

describe('flags', () => {
  test('defaults are those of the table and every key is there', () => {
    const options = server([]);
    assert.equal(options.port, 30000);
    assert.equal(options.enableMixedChunk, true);
    assert.equal(options.disableRadixCache, false);
    assert.equal(options.contextLength, undefined);
    assert.ok('contextLength' in options);
    assert.deepEqual(options.jsonModelOverrideArgs, {});
  });

  test('values follow after a space or an equals sign, names may have underscores', () => {
    assert.equal(server(['--page_size', '32']).pageSize, 32);
    assert.equal(server(['--page-size=32']).pageSize, 32);
    assert.equal(server(['--api-key=a=b']).apiKey, 'a=b');
    assert.equal(server(['--api-key=']).apiKey, '');
  });

  test('the abbreviations of SGLang’s page', () => {
    assert.equal(server(['--mem-frac=0.8']).memFractionStatic, 0.8);
    assert.equal(serving(['--num-prompt', '10']).numPrompts, 10);
    const random = serving(['--random-input', '7', '--random-output', '9']);
    assert.deepEqual([random.randomInputLen, random.randomOutputLen], [7, 9]);
    assert.deepEqual(oneBatch(['--batch', '32']).options.batchSize, [32]);
    assert.equal(oneBatch(['--correct']).options.correctnessTest, true);
  });

  test('an exact name wins over longer ones, and aliases count', () => {
    assert.equal(parseArguments(LAUNCH_SERVER, ['--model', 'x'], {}).options.modelPath, 'x');
    assert.equal(server(['--stream-output']).streamOutput, true);
    assert.equal(serving(['--ready-check-timeout-sec', '3']).readyTimeoutSec, 3);
    // Both names of --ready-timeout-sec begin like this: one option, no ambiguity.
    assert.equal(serving(['--ready', '4']).readyTimeoutSec, 4);
  });

  test('several options with the prefix are listed', () => {
    refused(() => server(['--max', '3']), /--max is ambiguous.*--max-total-tokens.*--max-running-requests/);
    refused(() => serving(['--random', '3']), /--random-input-len, --random-output-len, --random-range-ratio/);
  });

  test('an unknown flag names its neighbours', () => {
    refused(() => server(['--pagesize', '3']), /unknown option --pagesize; did you mean --page-size/);
    refused(() => server(['--xyzzy']), /unknown option --xyzzy; vitrine launch-server --help/);
    refused(() => server(['-p', '3']), /unexpected argument '-p'/);
    refused(() => server(['stray']), /unexpected argument 'stray'/);
  });

  test('flags of SGLang that are not there are refused by name', () => {
    refused(() => server(['--tp-size', '2']), /^--tp-size is an SGLang option that Vitrine does not support yet$/);
    refused(() => server(['--disaggregation-mode', 'prefill']), /does not support yet/);
    refused(() => server(['--disable_cuda_graph_padding']), /does not support yet/);
    refused(() => serving(['--dataset-offset', '3']), /^--dataset-offset is an SGLang option/);
    refused(() => serving(['--speed-bench-c', 'x']), /--speed-bench-c \(--speed-bench-category\) is an SGLang option/);
    refused(() => oneBatch(['--tp', '2']), /^--tp \(--tp-size\) is an SGLang option/);
    const quantization = (name: string) => () => server(['--quantization', name]);
    refused(quantization('awq'), /^--quantization: 'awq' is not supported; fp8, w8a8_fp8 and compressed-tensors are$/);
    refused(quantization('int3'), /^--quantization: expected one of fp8, w8a8_fp8, compressed-tensors, got 'int3'$/);
  });

  test('what is about images is refused for good, and so are datasets that are not there', () => {
    refused(() => serving(['--image-count', '2']), /^--image-count is an SGLang option about multimodal models/);
    refused(
      () => serving(['--image-res', '4k']),
      /^--image-res \(--image-resolution\) .* Vitrine has text models only$/,
    );
    const dataset = (name: string) => () => serving(['--dataset-name', name]);
    refused(dataset('image'), /^--dataset-name: 'image' is multimodal, and Vitrine benches text models only$/);
    refused(dataset('mmmu'), /'mmmu' is multimodal/);
    refused(() => batchServer(['--dataset-name', 'mmmu']), /^--dataset-name: 'mmmu' is multimodal/);
    refused(() => serving(['--backend', 'gserver']), /^--backend: 'gserver' is a name without a client/);
    refused(dataset('speed-bench'), /'speed-bench' is a dataset of SGLang that Vitrine does not support yet$/);
    refused(dataset('sharegtp'), /^--dataset-name: expected one of sharegpt, custom, .*, got 'sharegtp'$/);
  });

  test('negative numbers are values', () => {
    assert.equal(server(['--chunked-prefill-size', '-1']).chunkedPrefillSize, -1);
    assert.equal(server(['--chunked-prefill-size=-1']).chunkedPrefillSize, -1);
    refused(() => server(['--page-size', '-1']), /--page-size: expected an integer from 1 to 1024, got '-1'/);
  });

  test('lists take several values; the last occurrence wins', () => {
    const { options } = oneBatch(['--batch-size', '1', '8', '32', '--input-len=4', '--batch-size', '2', '3']);
    assert.deepEqual(options.batchSize, [2, 3]);
    assert.deepEqual(options.inputLen, [4]);
    assert.deepEqual(serving(['--header', 'a=b', 'c=d']).header, ['a=b', 'c=d']);
    assert.equal(server(['--port', '1', '--port', '2']).port, 2);
    refused(() => oneBatch(['--batch-size', '--input-len', '4']), /--batch-size: expected at least one value/);
    refused(() => oneBatch(['--batch-size', '1', 'x']), /--batch-size: expected an integer from 1 to 4096, got 'x'/);
  });

  test('negatable flags', () => {
    assert.equal(server(['--no-enable-mixed-chunk']).enableMixedChunk, false);
    assert.equal(server(['--no-enable-mixed-chunk', '--enable-mixed-chunk']).enableMixedChunk, true);
    assert.equal(server(['--enable-mixed']).enableMixedChunk, true);
    refused(() => server(['--no-disable-radix-cache']), /unknown option/);
    refused(() => server(['--disable-radix-cache=yes']), /takes no value, got 'yes'/);
  });

  test('types, ranges and choices', () => {
    refused(() => server(['--port', '3.5']), /--port: expected an integer from 0 to 65535, got '3\.5'/);
    refused(() => server(['--port', '70000']), /got '70000'/);
    refused(() => server(['--port', '99999999999999999999']), /--port: expected an integer/);
    refused(() => server(['--mem-fraction-static', 'nan']), /expected a number from 0\.01 to 0\.95, got 'nan'/);
    refused(() => server(['--mem-fraction-static', 'inf']), /got 'inf'/);
    refused(() => server(['--dtype', 'int8']), /expected one of auto, float32, .*, got 'int8'/);
    refused(() => server(['--port']), /--port: expected a value/);
    refused(() => server(['--host', '--port', '3']), /--host: expected a value/);
    assert.equal(serving(['--request-rate', 'inf']).requestRate, Number.POSITIVE_INFINITY);
    assert.equal(serving(['--request-rate', '2.5e1']).requestRate, 25);
    refused(() => serving(['--request-rate', '0']), /--request-rate: expected a number of at least 0\.000001/);
    refused(() => serving(['--request-rate', '-inf']), /expected a value/);
  });

  test('JSON values are objects', () => {
    const args = ['--json-model-override-args', '{"num_hidden_layers": 2}'];
    assert.deepEqual(server(args).jsonModelOverrideArgs, { num_hidden_layers: 2 });
    refused(() => server(['--json-model-override-args', '{num: 2}']), /expected a JSON object, got '\{num: 2\}'/);
    refused(() => server(['--json-model-override-args', '[1]']), /expected a JSON object, got '\[1\]'/);
    refused(() => server(['--json-model-override-args', 'null']), /expected a JSON object/);
  });

  test('what is required is asked for', () => {
    refused(() => parseArguments(LAUNCH_SERVER, [], {}), /^--model-path is required$/);
  });

  test('server flags that cannot matter to one batch are accepted with a warning', () => {
    const { options, warnings } = oneBatch(['--disable-radix-cache', '--chunked-prefill-size', '-1']);
    assert.equal('disableRadixCache' in options, false);
    assert.equal(warnings.length, 2);
    assert.match(warnings.join(), /--disable-radix-cache has no effect on bench-one-batch/);
    refused(() => oneBatch(['--chunked-prefill-size', 'x']), /expected an integer/);
  });
});

describe('environment', () => {
  test('is read when the flag is absent', () => {
    assert.equal(server([], { VITRINE_API_KEY: 'secret' }).apiKey, 'secret');
    assert.equal(server(['--api-key', 'other'], { VITRINE_API_KEY: 'secret' }).apiKey, 'other');
    assert.equal(server([], { VITRINE_API_KEY: '' }).apiKey, undefined);
  });

  test('is checked like a flag and blamed by its name', () => {
    refused(() => server([], { VITRINE_CPU_ISA: 'mmx' }), /^VITRINE_CPU_ISA: expected one of .*, got 'mmx'$/);
  });
});

describe('--config', () => {
  async function withFile(text: string, use: (path: string) => void): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'vitrine-config-'));
    try {
      const path = join(folder, 'options.yaml');
      await writeFile(path, text);
      use(path);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test('keys have dashes or underscores; values have the types of the table', () =>
    withFile(
      [
        'model_path: some/model',
        'page-size: 32',
        'revision: 1e3',
        'disable-radix-cache: true',
        'enable-mixed-chunk: false',
        'mem-fraction-static: .5',
        'api-key: ~',
        'json-model-override-args:',
        '  num_hidden_layers: 2',
        '  rope_theta: 1.5',
      ].join('\n'),
      (path) => {
        const { options } = parseArguments(LAUNCH_SERVER, ['--config', path], { VITRINE_API_KEY: 'env' });
        assert.equal(options.modelPath, 'some/model');
        assert.equal(options.pageSize, 32);
        assert.equal(options.revision, '1e3');
        assert.equal(options.disableRadixCache, true);
        assert.equal(options.enableMixedChunk, false);
        assert.equal(options.memFractionStatic, 0.5);
        assert.equal(options.apiKey, 'env');
        assert.deepEqual(options.jsonModelOverrideArgs, { num_hidden_layers: 2, rope_theta: 1.5 });
      },
    ));

  test('lists, and JSON as text', () =>
    withFile('batch-size: [1, 8]\ninput_len: 16\njson-model-override-args: \'{"a": 1}\'\n', (path) => {
      const { options } = oneBatch(['--config', path]);
      assert.deepEqual(options.batchSize, [1, 8]);
      assert.deepEqual(options.inputLen, [16]);
      assert.deepEqual(options.jsonModelOverrideArgs, { a: 1 });
    }));

  test('the command line wins, the file wins over the environment', () =>
    withFile('page-size: 32\nport: 1\napi-key: file\n', (path) => {
      const options = server(['--page-size', '8', '--config', path], { VITRINE_API_KEY: 'env' });
      assert.deepEqual([options.pageSize, options.port, options.apiKey], [8, 1, 'file']);
    }));

  test('errors name file and key', async () => {
    const bad = (text: string, pattern: RegExp) =>
      withFile(text, (path) => refused(() => server(['--config', path]), pattern));
    await bad('pagesize: 3', /options\.yaml: unknown key 'pagesize'.*--page-size/);
    await bad('page: 3', /unknown key 'page': prefixes/);
    await bad('tp-size: 2', /unknown key 'tp-size'.*SGLang option/);
    await bad('config: other.yaml', /unknown key 'config'/);
    await bad('port: high', /options\.yaml: port: expected an integer from 0 to 65535, got 'high'/);
    await bad('port: [1, 2]', /options\.yaml: port: expected an integer/);
    await bad('page-size: 1\npage_size: 2', /given twice/);
    await bad('- a\n- b', /expected a mapping/);
    await bad('a: [', /options\.yaml:/);
    refused(() => server(['--config', '/nonexistent/x.yaml']), /--config \/nonexistent\/x\.yaml: ENOENT/);
  });

  test('an empty file changes nothing', () =>
    withFile('# nothing\n', (path) => assert.deepEqual(server(['--config', path]), server([]))));
});
