// A server that answers each request with the very bytes of a script, on a port of its own: whatever a broken server, a
// proxy or a network may do to an answer.

import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Bytes to send; `reset` kills the connection, `close` ends it in order, `stall` leaves it open and silent for ever. After
 * the last step the connection waits for the next request.
 */
export type Step = string | Buffer | 'reset' | 'close' | 'stall';

const HEAD_END = '\r\n\r\n';

export class ScriptedServer {
  readonly url: string;
  /** Raw heads of the requests so far. */
  readonly heads: string[] = [];
  /** Connections so far. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** `script`: the steps for request number i, from 0. */
  static async start(script: (index: number) => readonly Step[]): Promise<ScriptedServer> {
    let scripted: ScriptedServer;
    const server = createServer({ noDelay: true }, (socket) => scripted.#serve(socket, script));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    scripted = new ScriptedServer(server);
    return scripted;
  }

  /** Kills every connection, also those on which nothing happens. */
  resetConnections(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket, script: (index: number) => readonly Step[]): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    let received = '';
    socket.setEncoding('latin1').on('data', (text) => {
      received += text;
      const headLength = received.indexOf(HEAD_END) + HEAD_END.length;
      if (headLength < HEAD_END.length) return;
      const head = received.slice(0, headLength);
      const bodyLength = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (received.length < headLength + bodyLength) return;
      received = received.slice(headLength + bodyLength);
      this.heads.push(head);
      void play(socket, script(this.heads.length - 1));
    });
  }
}

async function play(socket: Socket, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    if (step === 'stall') return;
    if (step === 'reset') {
      // What was written before shall arrive: a reset may overtake it.
      await sleep(20);
      socket.resetAndDestroy();
    } else if (step === 'close') {
      socket.end();
    } else {
      await new Promise<void>((resolve) => socket.write(step, () => resolve()));
    }
  }
}

interface HeadSettings {
  readonly status?: string;
  readonly type?: string;
  readonly headers?: readonly string[];
}

/** Status line and headers. */
export function head({ status = '200 OK', type = 'text/event-stream', headers = [] }: HeadSettings = {}): string {
  return [`HTTP/1.1 ${status}`, `content-type: ${type}`, ...headers, '', ''].join('\r\n');
}

/** A complete answer of known length. */
export function whole(body: string | Buffer, settings: HeadSettings = {}): Step[] {
  const headers = [...(settings.headers ?? []), `content-length: ${Buffer.byteLength(body)}`];
  return [Buffer.concat([Buffer.from(head({ ...settings, headers })), Buffer.from(body)])];
}

/** A complete answer in these HTTP chunks, each a write of its own. */
export function chunked(pieces: readonly (string | Buffer)[], settings: HeadSettings = {}): Step[] {
  return [...unfinished(pieces, settings), '0\r\n\r\n'];
}

/** The same, without its end. */
export function unfinished(pieces: readonly (string | Buffer)[], settings: HeadSettings = {}): Step[] {
  const headers = [...(settings.headers ?? []), 'transfer-encoding: chunked'];
  const chunk = (piece: string | Buffer): Buffer =>
    Buffer.concat([
      Buffer.from(`${Buffer.byteLength(piece).toString(16)}\r\n`),
      Buffer.from(piece),
      Buffer.from('\r\n'),
    ]);
  return [head({ ...settings, headers }), ...pieces.map(chunk)];
}
