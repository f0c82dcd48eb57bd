// The public library API of Vitrine.
//
// `Engine` runs a model in this process; `launchServer` serves one over HTTP as `vitrine launch-server` does. Everything a
// user can do wrong is reported as a `VitrineError` with a stable `code`.
import { resolveOptions } from './config/resolve-options.js';
import { SERVER_OPTIONS, type ServerOptions } from './config/tables/server-options.js';
import { launchServer as launch, type RunningServer } from './server/launch-server.js';

export type { MergedTrace, ProfileMerge, ProfileStatus } from './frontend/profiler/profile-status.js';
export type { RankInfo, SchedulerState } from './messages/control.js';
export type { FinishReason, TokenLogprobs } from './messages/outputs.js';
export type { ProfileActivity, ProfileEnd, ProfileFile, ProfileStage, ProfileState } from './messages/profile.js';
export type { ProfileOptions } from './runtime/engine-profile.js';
export type { ChatRequest, EngineRequest, LogprobRequest, SamplingOptions } from './runtime/engine-request.js';
export type { Generation, GenerationChunk, GenerationResult } from './runtime/generation.js';
export { Engine, type EngineLaunchOptions } from './runtime/local-engine.js';
export type { RunningServer } from './server/launch-server.js';
export type { ChatMessage, TextPart } from './tokenizer/chat-message.js';
export type { Tokenizer } from './tokenizer/tokenizer.js';
export { type ErrorCode, VitrineError } from './util/errors.js';

/** The options of `vitrine launch-server` in camelCase; all but `modelPath` have defaults (docs/options.md). */
export type LaunchServerOptions = Partial<ServerOptions> & { readonly modelPath: string };

/**
 * Serves a model over HTTP: `/generate` as in SGLang, and the OpenAI routes. The engine runs in a child process.
 *
 * ```ts
 * const server = await launchServer({ modelPath: 'models/stories260K', port: 0 });
 * console.log(server.url);
 * await server.shutdown();
 * ```
 *
 * Resolves when the model is loaded and warm. SIGTERM and SIGINT shut the server down, a second one ends the process.
 * Errors: INVALID_OPTION, ADDRESS_IN_USE, and those of `Engine.launch`.
 */
export async function launchServer(options: LaunchServerOptions): Promise<RunningServer> {
  return launch(resolveOptions(SERVER_OPTIONS, options));
}
