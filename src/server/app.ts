// All routes of the server, with the hooks that they share. Routes have no logic of their own: they read a request, hand
// it to the front end and write what comes back.
import { type FastifyInstance, fastify } from 'fastify';
import type { ServerOptions } from '../config/tables/server-options.js';
import type { FrontEndTracer } from '../frontend/profiler/front-end-tracer.js';
import type { Log } from '../util/log.js';
import { packageVersion } from '../util/package-version.js';
import { installAdmin } from './admin.js';
import { createAuthCheck } from './auth.js';
import { BODY_LIMIT_BYTES, installBodyParser } from './body-parser.js';
import { createErrorHandler, notFound } from './errors.js';
import { type HealthOptions, installHealth } from './health.js';
import { installHttpTracing } from './http-tracing.js';
import { installInfo } from './info.js';
import type { Lifecycle } from './lifecycle.js';
import type { Metrics } from './metrics.js';
import { installNativeApi } from './native-api.js';
import { installChatCompletions } from './openai/chat-completions.js';
import { installCompletions } from './openai/completions.js';
import { installModels } from './openai/models.js';
import { installProfile } from './profile.js';
import './route-config.js';

export interface AppDeps {
  readonly options: ServerOptions;
  readonly lifecycle: Lifecycle;
  readonly health: HealthOptions;
  /** null: /metrics is not there. */
  readonly metrics: Metrics | null;
  readonly tracer: FrontEndTracer;
  readonly log: Log;
}

/** Longer than clients keep connections (aiohttp 15 s, Node agents 5 s), so that it is they who close idle ones. */
const KEEP_ALIVE_MS = 75_000;

export function createApp({ options, lifecycle, health, metrics, tracer, log }: AppDeps): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // While it drains, the server itself says so, in words.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 4096 },
  });
  installHttpTracing(app, tracer);
  const checkAuth = createAuthCheck(options);
  app.addHook('onRequest', async (request) => {
    checkAuth(request);
    // Refused before the body is read, which may be long.
    if (!request.is404) lifecycle.services();
  });
  app.setErrorHandler(createErrorHandler(log));
  app.setNotFoundHandler(notFound);
  installBodyParser(app, tracer);
  installNativeApi(app, lifecycle, options);
  installCompletions(app, lifecycle, options);
  installChatCompletions(app, lifecycle, options);
  installModels(app, lifecycle);
  installHealth(app, lifecycle, health);
  installInfo(app, lifecycle, options, packageVersion());
  installAdmin(app, lifecycle);
  installProfile(app, lifecycle);
  metrics?.install(app, lifecycle);
  return app;
}
