// The send-one program: one request to a running server, its text, and how fast it came; on demand with a profile of it.
import { PROFILER_DIR, profilerDirectory } from '../../config/profiler-directory.js';
import type { SendOneOptions } from '../../config/tables/send-one-options.js';
import { monotonicSeconds } from '../../util/clock.js';
import type { JsonObject } from '../../util/read-json.js';
import { HttpClient } from '../http/http-client.js';
import { authorization, type Environment, hostAddress } from '../http/target.js';
import { ProfileClient } from '../profile/profile-client.js';
import { ProfileRun } from '../profile/profile-run.js';
import type { Output } from '../terminal/output.js';
import type { WaitNotice } from '../terminal/wait-notice.js';
import { borderedTable } from './bordered-table.js';
import { askNative, type NativeAnswer } from './native-answer.js';

/** As SGLang: texts at which chat models without a template go on with another turn. */
const STOP = ['Question', 'Assistant:', '<|separator|>', '<|eos|>'];
const CODE_PROMPT = 'Human: Write a complete FastAPI server. Show the Python code.\n\nAssistant:';
const JSON_PROMPT = 'Human: What is the capital of France, and what is it like? Answer in JSON.\n\nAssistant:';

export interface SendOneDeps {
  readonly output: Output;
  /** Text without a line end, for --stream. */
  readonly write: (text: string) => void;
  readonly notice: WaitNotice;
  readonly interrupt: AbortSignal;
  readonly environment: Environment;
}

/** As SGLang's. */
const DEFAULT_STEPS = 3;

/** Errors: INVALID_OPTION, NOT_READY, UNAUTHORIZED, BENCH_FAILED, ABORTED. */
export async function sendOne(options: SendOneOptions, deps: SendOneDeps): Promise<void> {
  const { output, environment } = deps;
  const { profile, profileByStage, profilePrefix, profileSteps } = options;
  if (!profile && (profileByStage || profilePrefix !== undefined || profileSteps !== undefined)) {
    output.warn('--profile-steps, --profile-by-stage and --profile-prefix have no effect without --profile');
  }
  const target = {
    baseUrl: hostAddress(options.host, options.port),
    headers: authorization(environment, options.apiKey),
  };
  const client = new HttpClient(target);
  const profiler = new ProfileClient(target);
  try {
    if (options.profile) await sendProfiled(options, deps, client, profiler);
    else await send(options, deps, client);
  } finally {
    client.close();
    profiler.close();
  }
}

async function sendProfiled(
  options: SendOneOptions,
  deps: SendOneDeps,
  client: HttpClient,
  profiler: ProfileClient,
): Promise<void> {
  const { profileSteps: numSteps = DEFAULT_STEPS, profileByStage, profilePrefix } = options;
  const settings = { numSteps, profileByStage, profilePrefix, activities: ['CPU', 'GPU'], mergeProfiles: false };
  const outputDir = profilerDirectory(deps.environment);
  const run = await ProfileRun.start(profiler, { ...settings, outputDir, outputDirSource: PROFILER_DIR }, deps.output);
  // A short answer has fewer steps than asked for, a failed one none: nobody else should find the profile armed.
  try {
    await send(options, deps, client);
  } catch (thrown) {
    // That the request failed is the news; a server that is gone cannot be stopped either.
    await run.stopUnlessDone().catch((error: Error) => deps.output.warn(error.message));
    throw thrown;
  }
  await run.stopUnlessDone();
  const { interrupt: signal, notice } = deps;
  await run.finish({ signal, notice, timeoutSeconds: options.waitTimeout }, deps.output);
}

async function send(options: SendOneOptions, deps: SendOneDeps, client: HttpClient): Promise<void> {
  const { output, write } = deps;
  const started = monotonicSeconds();
  const answer = await askNative(client, payload(options), deps.interrupt, write);
  const seconds = monotonicSeconds() - started;
  output.print(options.stream ? '' : answer.text);
  output.print('');
  for (const line of borderedTable(COLUMNS, [figures(answer, seconds)])) output.print(line);
}

function payload(options: SendOneOptions): JsonObject {
  const prompt = options.prompt ?? (options.json ? JSON_PROMPT : CODE_PROMPT);
  const prompts = Array.from({ length: options.batchSize }, (_, i) =>
    options.differentPrompts ? `Test case ${i + 1}: ${prompt}` : prompt,
  );
  return {
    text: options.batchSize === 1 ? prompts[0] : prompts,
    sampling_params: {
      temperature: options.temperature,
      max_new_tokens: options.maxNewTokens,
      frequency_penalty: options.frequencyPenalty,
      presence_penalty: options.presencePenalty,
      stop: STOP,
      ...(options.json ? { json_schema: '$$ANY$$' } : {}),
      ...(options.seed === undefined ? {} : { sampling_seed: options.seed }),
    },
    return_logprob: options.returnLogprob,
    stream: options.stream,
  };
}

const COLUMNS = ['Latency (s)', 'Tokens', 'Acc Length', 'Speed (token/s)'];

/** `seconds`: our own measure, for servers that give none. */
function figures({ meta }: NativeAnswer, seconds: number): string[] {
  const number = (key: string): number | undefined => {
    const value = meta[key];
    return typeof value === 'number' ? value : undefined;
  };
  const latency = number('e2e_latency') ?? seconds;
  const tokens = number('completion_tokens') ?? 0;
  const verified = number('spec_verify_ct');
  const acceptLength = verified ? tokens / verified : 1;
  return [latency.toFixed(3), String(tokens), acceptLength.toFixed(3), (tokens / latency).toFixed(2)];
}
