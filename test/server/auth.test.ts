import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFakeServer } from '../support/fake-server.js';

const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

async function status(url: string, init: RequestInit = {}): Promise<number> {
  const response = await fetch(url, init);
  await response.arrayBuffer();
  return response.status;
}

test('without keys everything is open', async (t) => {
  const { url } = await startFakeServer(t);
  assert.equal(await status(`${url}/v1/models`), 200);
  assert.equal(await status(`${url}/flush_cache`), 200);
});

test('the API key is asked for everywhere but at /health and /metrics', async (t) => {
  const { url } = await startFakeServer(t, { options: { apiKey: 'secret', enableMetrics: true } });
  for (const path of ['/v1/models', '/server_info', '/flush_cache', '/ping', '/unknown']) {
    assert.equal(await status(`${url}${path}`), 401, path);
    assert.equal(await status(`${url}${path}`, bearer('wrong')), 401, path);
    assert.equal(await status(`${url}${path}`, { headers: { authorization: 'secret' } }), 401, path);
    assert.notEqual(await status(`${url}${path}`, bearer('secret')), 401, path);
  }
  assert.equal(await status(`${url}/generate`, { method: 'POST', body: '{}' }), 401);
  for (const path of ['/health', '/health_generate', '/metrics'])
    assert.equal(await status(`${url}${path}`), 200, path);
  const response = await fetch(`${url}/v1/models`);
  assert.deepEqual(await response.json(), { error: 'Unauthorized' });
});

test('with an admin key, admin routes take it alone and the others do not take it', async (t) => {
  const { url } = await startFakeServer(t, { options: { apiKey: 'user', adminApiKey: 'admin' } });
  assert.equal(await status(`${url}/flush_cache`, bearer('admin')), 200);
  assert.equal(await status(`${url}/flush_cache`, bearer('user')), 401);
  assert.equal(await status(`${url}/flush_cache`), 401);
  assert.equal(await status(`${url}/v1/models`, bearer('user')), 200);
  assert.equal(await status(`${url}/v1/models`, bearer('admin')), 401);
});

test('an admin key alone leaves the rest open', async (t) => {
  const { url } = await startFakeServer(t, { options: { adminApiKey: 'admin' } });
  assert.equal(await status(`${url}/v1/models`), 200);
  assert.equal(await status(`${url}/abort_request`, { method: 'POST' }), 401);
});

test('keys are not told by /server_info', async (t) => {
  const { url } = await startFakeServer(t, { options: { apiKey: 'very-secret', adminApiKey: 'most-secret' } });
  const response = await fetch(`${url}/server_info`, bearer('very-secret'));
  assert.ok(!(await response.text()).includes('secret'));
});
