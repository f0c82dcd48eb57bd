// Errors → HTTP, in SGLang's shapes.
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { RequestShapeError } from '../frontend/field-reader.js';
import { toError, VitrineError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { Dialect } from './route-config.js';

/** The error object of the OpenAI routes and of everything that is not about a value of /generate. */
export function errorObject(message: string, type: string, code: number, param: string | null = null) {
  return { object: 'error', message, type, param, code };
}

/** Body of an error that the client is to blame for or that has an HTTP status of its own. */
export function errorBody(error: VitrineError, dialect: Dialect): object {
  const { message, status } = error;
  const param = error.param ?? null;
  if (error instanceof RequestShapeError) return errorObject(message, 'Bad Request', 400, param);
  if (status === 400) return dialect === 'native' ? { error: { message } } : badRequest(error);
  if (status === 401) return { error: message };
  return errorObject(message, String(status), status, param);
}

/** An error inside a stream, after the 200. */
export function errorEvent(error: VitrineError, dialect: Dialect): string {
  const body = dialect === 'native' ? { message: error.message } : badRequest(error);
  return JSON.stringify({ error: body });
}

function badRequest({ message, status, param }: VitrineError) {
  return errorObject(message, status === 400 ? 'BadRequestError' : String(status), status, param ?? null);
}

/** For `setErrorHandler`. */
export function createErrorHandler(log: Log) {
  return (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const error = toError(thrown);
    if (error instanceof VitrineError) {
      sendError(reply, error, request.routeOptions.config.dialect ?? 'openai');
      return;
    }
    const status = (error as FastifyError).statusCode;
    if (status !== undefined && status >= 400 && status < 500) {
      const type = status === 400 ? 'Bad Request' : String(status);
      reply.code(status).send(errorObject(error.message, type, status));
      return;
    }
    log.error({ err: error, url: request.url }, 'A request failed unexpectedly');
    reply.code(500).type('text/plain; charset=utf-8').send('Internal Server Error');
  };
}

export function sendError(reply: FastifyReply, error: VitrineError, dialect: Dialect): void {
  if (error.status === 503) reply.header('retry-after', '1');
  reply.code(error.status).send(errorBody(error, dialect));
}

export function notFound(request: FastifyRequest, reply: FastifyReply): void {
  reply.code(404).send(errorObject(`Not Found: ${request.method} ${request.url.split('?')[0]}`, '404', 404));
}
