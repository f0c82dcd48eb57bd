// GET /v1/models and /v1/models/{id}.
import type { FastifyInstance } from 'fastify';
import type { Lifecycle } from '../lifecycle.js';
import type { ServedModel } from '../served-model.js';

export function installModels(app: FastifyInstance, lifecycle: Lifecycle): void {
  const created = Math.floor(Date.now() / 1000);
  const card = (model: ServedModel) => ({
    id: model.name,
    object: 'model',
    created,
    owned_by: 'sglang',
    root: model.name,
    parent: null,
    max_model_len: model.contextLength,
  });
  app.get('/v1/models', async () => ({ object: 'list', data: [card(lifecycle.services().model)] }));
  // The wildcard lets ids be paths and hub names, which contain slashes.
  app.get('/v1/models/*', async (request, reply) => {
    const { model } = lifecycle.services();
    const { '*': id } = request.params as { '*': string };
    if (id === model.name) return card(model);
    const message = `The model '${id}' does not exist`;
    return reply
      .code(404)
      .send({ error: { message, type: 'invalid_request_error', param: 'model', code: 'model_not_found' } });
  });
}
