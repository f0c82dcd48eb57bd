// Routes that change the server: /flush_cache and /abort_request.
import type { FastifyInstance } from 'fastify';
import { FieldReader } from '../frontend/field-reader.js';
import { userAbort } from '../frontend/finish-error.js';
import type { Lifecycle } from './lifecycle.js';

/** SGLang's words, for success and refusal alike; scripts look at the status. */
const FLUSH_TEXT =
  'Cache flushed.\nPlease check backend logs for more details. ' +
  '(When there are running or waiting requests, the operation will not be performed.)\n';

export function installAdmin(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.route({
    method: ['GET', 'POST'],
    exposeHeadRoute: false, // asking whether it is there must not do it
    url: '/flush_cache',
    config: { admin: true },
    handler: async (_, reply) => {
      const flushed = await lifecycle.services().scheduler.flushCache();
      return reply
        .code(flushed ? 200 : 400)
        .type('text/plain; charset=utf-8')
        .send(FLUSH_TEXT);
    },
  });
  app.post('/abort_request', { config: { admin: true } }, async (request, reply) => {
    const { manager } = lifecycle.services();
    const fields = FieldReader.ofBody(request.body);
    const rid = fields.string('rid');
    const all = fields.boolean('abort_all') ?? false;
    if (rid === undefined && !all) throw fields.shape('rid', 'must be a string (or abort_all true)', undefined);
    manager.abortById(all ? null : rid!, userAbort('Aborted by /abort_request.'));
    return reply.code(200).send();
  });
}
