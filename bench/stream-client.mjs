// The cheapest client that can time a stream: a socket, bytes searched for `data: `, no HTTP and no JSON. What it costs is
// what any client must pay, so what a server takes of two shared processors shows.
import { connect } from 'node:net';

const MARK = Buffer.from('data: ');

/**
 * Posts `body` and resolves at the end of the stream with the time of every event in ms (performance.now()), `[DONE]` not
 * among them, and the bytes. `onFirst` hears of the first event. After `signal` it resolves with what has come.
 */
export function stream(url, path, body, onFirst = () => {}, signal = undefined) {
  const { hostname, port } = new URL(url);
  const text = JSON.stringify(body);
  const head =
    `POST ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
    `connection: close\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const times = [];
    let bytes = 0;
    let begin = '';
    socket.on('connect', () => socket.write(head + text));
    socket.on('data', (chunk) => {
      const now = performance.now();
      if (bytes === 0) begin = chunk.toString('latin1', 0, 4096);
      bytes += chunk.length;
      const first = times.length === 0;
      for (let at = chunk.indexOf(MARK); at >= 0; at = chunk.indexOf(MARK, at + MARK.length)) times.push(now);
      if (first && times.length > 0) onFirst();
    });
    socket.on('error', reject);
    signal?.addEventListener('abort', () => socket.destroy(), { once: true });
    socket.on('close', () => {
      if (!begin.startsWith('HTTP/1.1 200')) reject(new Error(`${path}: ${begin}`));
      else if (times.length < 2) reject(new Error(`${path}: the stream has no events`));
      else resolve({ times: signal?.aborted ? times : times.slice(0, -1), bytes });
    });
  });
}

/** Posts without a body or with one; resolves with the text of the answer. */
export async function post(url, path, body) {
  const response = await fetch(url + path, {
    method: 'POST',
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${text}`);
  return text;
}
