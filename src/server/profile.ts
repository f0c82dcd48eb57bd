// /start_profile, /stop_profile (and /end_profile, as SGLang's documentation calls it), /profile_status. To clients that
// do not ask for JSON they answer with SGLang's words.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { FieldReader, RequestShapeError } from '../frontend/field-reader.js';
import { parseProfileRequest, type RequestedProfile } from '../frontend/profiler/profile-request.js';
import type { ProfileStatus } from '../frontend/profiler/profile-status.js';
import { VitrineError } from '../util/errors.js';
import { isJsonObject, type JsonObject } from '../util/read-json.js';
import { parseJson } from './body-parser.js';
import type { Lifecycle } from './lifecycle.js';

const START_TEXT = 'Start profiling.\n';
const STOP_TEXT = 'Stop profiling. This will take some time.\n';
/** Fields that are lists: in a query `activities=CPU,GPU`, or one by one. */
const LISTS = new Set(['activities', 'profile_stages']);
const QUERY_BODY_LIMIT_BYTES = 1 << 20;

export function installProfile(app: FastifyInstance, lifecycle: Lifecycle): void {
  const config = { admin: true };
  const method = ['GET', 'POST'];
  app.route({
    method,
    exposeHeadRoute: false,
    url: '/start_profile',
    config,
    handler: async (request, reply) => {
      const { profiles } = lifecycle.services();
      const requested = parseProfileRequest(await readFields(request), profiles.environment);
      return answer(request, reply, await start(requested, lifecycle), START_TEXT);
    },
  });
  for (const url of ['/stop_profile', '/end_profile']) {
    app.route({
      method,
      exposeHeadRoute: false,
      url,
      config,
      handler: async (request, reply) => {
        const status = await lifecycle.services().profiles.stop();
        return answer(request, reply, status, STOP_TEXT);
      },
    });
  }
  app.get('/profile_status', async (request) => {
    const { profiles, scheduler } = lifecycle.services();
    const profileId = new FieldReader(request.query as JsonObject).string('profile_id');
    const status = await profiles.status(profileId);
    if (status !== null) return profileJson(status);
    if (profileId === undefined) return { ...IDLE, forward_steps: (await scheduler.state()).forwardSteps };
    const message = `There is no profile ${JSON.stringify(profileId)}, or it is not among the last ones.`;
    throw new VitrineError('NOT_FOUND', message, { param: 'profile_id' });
  });
}

/** At a start, a directory that cannot be written is the client's mistake. */
async function start(requested: RequestedProfile, lifecycle: Lifecycle): Promise<ProfileStatus> {
  try {
    return await lifecycle.services().profiles.start(requested);
  } catch (thrown) {
    if (!(thrown instanceof VitrineError) || thrown.code !== 'TRACE_NOT_WRITTEN') throw thrown;
    throw new VitrineError('INVALID_REQUEST', thrown.message, { param: 'output_dir', cause: thrown });
  }
}

/** The fields of the query and of the body, which wins. */
async function readFields(request: FastifyRequest): Promise<FieldReader> {
  const body = request.method === 'GET' ? await bodyOfGet(request) : request.body;
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request.query as JsonObject)) {
    fields[key] = LISTS.has(key) && typeof value === 'string' ? value.split(',') : value;
  }
  if (body === undefined || body === null) return new FieldReader(fields);
  if (isJsonObject(body)) return new FieldReader({ ...fields, ...body });
  return FieldReader.ofBody(body);
}

/** Fastify reads none, but SGLang's route takes it. */
async function bodyOfGet({ raw }: FastifyRequest): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of raw) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > QUERY_BODY_LIMIT_BYTES) {
      throw new RequestShapeError(`The request body is longer than ${QUERY_BODY_LIMIT_BYTES} bytes.`);
    }
  }
  return parseJson(Buffer.concat(chunks).toString('utf8'));
}

function answer(request: FastifyRequest, reply: FastifyReply, status: ProfileStatus, text: string): FastifyReply {
  if (/\bapplication\/json\b/i.test(request.headers.accept ?? '')) return reply.send(profileJson(status));
  return reply.type('text/plain; charset=utf-8').send(text);
}

/** The JSON of a profile, for clients. */
export function profileJson(status: ProfileStatus) {
  const { merge } = status;
  return {
    profile_id: status.profileId,
    state: status.state,
    activities: status.activities,
    output_dir: status.outputDir,
    planned_steps: status.plannedSteps,
    recorded_steps: status.recordedSteps,
    first_step: status.firstStep,
    last_step: status.lastStep,
    ended_by: status.endedBy,
    warnings: status.warnings,
    files: status.files.map((file) => ({
      path: file.path,
      kind: file.kind,
      stage: file.stage,
      steps: file.steps,
      first_step: file.firstStep,
      last_step: file.lastStep,
      bytes: file.fileBytes,
      text_bytes: file.textBytes,
      events: file.events,
      dropped_records: file.droppedRecords,
    })),
    merge,
    error: status.error,
    forward_steps: status.forwardSteps,
  };
}

/** What /profile_status says where nothing was ever profiled. */
const IDLE = {
  profile_id: null,
  state: 'idle',
  activities: [],
  output_dir: null,
  planned_steps: null,
  recorded_steps: 0,
  first_step: null,
  last_step: null,
  ended_by: null,
  warnings: [],
  files: [],
  merge: null,
  error: null,
};
