// The HTTP spans of a profile, for all routes alike: each request from its headers to the end of its response, the
// handler up to its first await, and the writing of the response.
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { FrontEndTracer, Life, LifeRecord } from '../frontend/profiler/front-end-tracer.js';

/** Before the routes are added. */
export function installHttpTracing(app: FastifyInstance, tracer: FrontEndTracer): void {
  let requests = 0;
  app.addHook('onRoute', (route) => {
    const { handler, url } = route;
    route.handler = function (request, reply) {
      const mark = tracer.begin();
      if (mark < 0) return handler.call(this, request, reply);
      try {
        return handler.call(this, request, reply);
      } finally {
        tracer.endRoute(mark, `${request.method} ${url}`);
      }
    };
  });
  app.addHook('onRequest', (request, reply, done) => {
    const life = new HttpLife(++requests, tracer.now(), request, reply.raw);
    tracer.open(life);
    reply.raw.once('close', () => tracer.close(life)); // comes too when the client goes away
    done();
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    const mark = tracer.begin();
    done(null, payload); // writes headers and payload before it returns
    tracer.end(mark, 'writeResponse', Number(reply.raw.getHeader('content-length') ?? 0));
  });
}

/** Bytes are counted on the connection, headers included; those that come in are what the client says of its body. */
class HttpLife implements Life {
  readonly #number: number;
  readonly beginNs: number;
  readonly #request: FastifyRequest;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #bytesBefore: number;

  constructor(number: number, beginNs: number, request: FastifyRequest, response: ServerResponse) {
    this.#number = number;
    this.beginNs = beginNs;
    this.#request = request;
    this.#response = response;
    this.#socket = request.raw.socket;
    this.#bytesBefore = this.#socket.bytesWritten;
  }

  describe(name: (text: string) => number): LifeRecord {
    const { method, headers, routeOptions } = this.#request;
    const bytesIn = Number(headers['content-length'] ?? 0);
    const bytesOut = this.#socket.bytesWritten - this.#bytesBefore;
    const route = name(routeOptions.url ?? '(no route)');
    // Before the head of the response has gone there is no status yet.
    const status = this.#response.headersSent ? this.#response.statusCode : 0;
    const args = [name(method), route, status, bytesIn, bytesOut];
    return { category: 'http', name: name('http request'), id: this.#number, schema: 'http', args };
  }
}
