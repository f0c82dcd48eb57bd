// A hub with one model, on a free port: the three routes that downloads use.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface FakeHub {
  readonly url: string;
  /** `GET path` of every request so far, the query left out. */
  readonly requests: string[];
  /** Authorization headers that came. */
  readonly tokens: Set<string>;
  /** Answer every request with this status. */
  failWith: number | undefined;
  /** Cut this many bytes off every download. */
  truncateBy: number;
  close(): Promise<void>;
}

export const HUB_COMMIT = 'a'.repeat(40);

export async function startFakeHub(
  t: TestContext,
  id: string,
  files: Readonly<Record<string, Buffer>>,
): Promise<FakeHub> {
  const server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  t.after(close);
  const hub: FakeHub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    tokens: new Set(),
    failWith: undefined,
    truncateBy: 0,
    close,
  };

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url!, hub.url).pathname);
    hub.requests.push(`${request.method} ${path}`);
    if (request.headers.authorization !== undefined) hub.tokens.add(request.headers.authorization);
    const resolvePrefix = `/${id}/resolve/${HUB_COMMIT}/`;
    if (hub.failWith !== undefined) {
      sendJson(response, hub.failWith, { error: 'as told' });
    } else if (path === `/api/models/${id}/revision/main` || path === `/api/models/${id}/revision/refs/pr/1`) {
      sendJson(response, 200, { _id: '1', id, sha: HUB_COMMIT, lastModified: '2024-01-01T00:00:00Z', siblings: [] });
    } else if (path === `/api/models/${id}/tree/${HUB_COMMIT}`) {
      const entries = Object.entries(files).map(([name, bytes]) => ({
        type: 'file',
        path: name,
        size: bytes.length,
        oid: Buffer.from(name).toString('hex').padEnd(40, '0'),
      }));
      sendJson(response, 200, [{ type: 'directory', path: 'onnx', size: 0, oid: '0' }, ...entries]);
    } else if (path.startsWith(resolvePrefix) && Object.hasOwn(files, path.slice(resolvePrefix.length))) {
      sendFile(request, response, files[path.slice(resolvePrefix.length)]!);
    } else {
      sendJson(response, 404, { error: 'Repository not found' });
    }
  }

  function sendFile(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const size = bytes.length - hub.truncateBy;
    const start = range === null ? 0 : Number(range[1]);
    const end = range === null || range[2] === '' ? size : Math.min(Number(range[2]) + 1, size);
    response.writeHead(206, { ETag: '"x"', 'Content-Range': `bytes ${start}-${end - 1}/${size}` });
    response.end(bytes.subarray(start, end));
  }

  return hub;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}
