// `vitrine generate`: continues one prompt in this process. The text goes to standard output as it comes, one line of
// figures to standard error.
import { text as readAll } from 'node:stream/consumers';
import type { GenerateOptions } from '../config/tables/generate-options.js';
import type { SamplingOptions } from '../runtime/engine-request.js';
import { Engine, type EngineLaunchOptions } from '../runtime/local-engine.js';
import { monotonicSeconds } from '../util/clock.js';
import { VitrineError } from '../util/errors.js';

/** 0; 130 when interrupted. */
export async function run(options: GenerateOptions): Promise<number> {
  const prompt = options.prompt ?? (await readStandardInput());
  const { launch, sampling } = splitOptions(options);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal);
  const engine = await Engine.launch(launch);
  try {
    // Loading keeps the event loop busy: Ctrl-C is noticed only now.
    if (!interrupt.signal.aborted) await stream(engine, prompt, sampling, interrupt.signal);
    return interrupt.signal.aborted ? 130 : 0;
  } finally {
    process.off('SIGINT', onSignal);
    await engine.close();
  }
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY) {
    throw new VitrineError('INVALID_OPTION', '--prompt is required where standard input is a terminal', {
      param: '--prompt',
    });
  }
  return (await readAll(process.stdin)).replace(/\r?\n$/, '');
}

/** What the engine needs at start, and what the request brings. */
function splitOptions(options: GenerateOptions): { launch: EngineLaunchOptions; sampling: SamplingOptions } {
  const { prompt, maxNewTokens, temperature, topP, topK, minP, ignoreEos, seed, stop, ...rest } = options;
  const { frequencyPenalty, presencePenalty, repetitionPenalty, ...launch } = rest;
  const sampling = {
    ...{ maxNewTokens, temperature, topP, topK, minP, ignoreEos },
    ...{ frequencyPenalty, presencePenalty, repetitionPenalty },
    ...(seed === undefined ? {} : { seed }),
    ...(stop === undefined ? {} : { stop }),
  };
  return { launch, sampling };
}

async function stream(engine: Engine, prompt: string, sampling: SamplingOptions, signal: AbortSignal): Promise<void> {
  const started = monotonicSeconds();
  let firstAt: number | undefined;
  let tokens = 0;
  let reason = '';
  let lastText = '';
  for await (const chunk of engine.generate({ prompt, samplingParams: sampling, signal })) {
    if (chunk.tokenIds.length > 0) firstAt ??= monotonicSeconds();
    tokens += chunk.tokenIds.length;
    reason = chunk.finishReason?.type ?? reason;
    if (chunk.text !== '') lastText = chunk.text;
    process.stdout.write(chunk.text);
  }
  if (!lastText.endsWith('\n')) process.stdout.write('\n');
  const seconds = monotonicSeconds() - started;
  const first = firstAt === undefined ? '' : `, the first after ${((firstAt - started) * 1000).toFixed(1)} ms`;
  const speed = `${(tokens / seconds).toFixed(1)} tokens/s`;
  process.stderr.write(`${tokens} tokens in ${seconds.toFixed(2)} s (${speed}${first}); ended by ${reason}\n`);
}
