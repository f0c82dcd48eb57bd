// Request bodies: JSON, checked by the routes. No schema library: the cost is one JSON.parse.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestShapeError } from '../frontend/field-reader.js';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import { toError } from '../util/errors.js';

/** A thousand prompts of 20,000 token ids fit; a string in V8 cannot be much longer. */
export const BODY_LIMIT_BYTES = 256 * 1024 * 1024;

export function installBodyParser(app: FastifyInstance, tracer: FrontEndTracer): void {
  const parse = (body: string): unknown => {
    const mark = tracer.begin();
    const value = parseJson(body);
    if (mark >= 0) tracer.end(mark, 'parseBody', Buffer.byteLength(body));
    return value;
  };
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    /^application\/([\w.-]+\+)?json\b/i,
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string | Buffer) => parse(body as string),
  );
  app.addContentTypeParser('*', { parseAs: 'string' }, async (request: FastifyRequest, body: string | Buffer) => {
    if (body.length === 0) return undefined;
    if (request.headers['content-type'] === undefined && !request.url.startsWith('/v1/')) {
      return parse(body as string);
    }
    throw new RequestShapeError("Unsupported Media Type: Only 'application/json' is allowed");
  });
}

/** An empty body is no body: admin routes are called without one. */
export function parseJson(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new RequestShapeError(`The request body is not valid JSON: ${toError(thrown).message}`);
  }
}
