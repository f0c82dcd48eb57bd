// `vitrine generate`: continues one prompt in this process and streams the text to the terminal.
import { text as readAll } from 'node:stream/consumers';
import type { GenerateOptions } from '../config/generate-options.js';
import { SCHEDULER_OPTIONS } from '../config/scheduler-options.js';
import { FRONTEND_OPTIONS } from '../config/server-options.js';
import { Engine, type EngineLaunchOptions } from '../runtime/local-engine.js';
import { monotonicSeconds } from '../util/clock.js';
import { VitrineError } from '../util/errors.js';

export async function run(options: GenerateOptions): Promise<number> {
  const prompt = await readPrompt(options.prompt);
  const engine = await Engine.launch(launchOptions(options));
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    await stream(engine, prompt, options, abort.signal);
    return abort.signal.aborted ? 1 : 0;
  } finally {
    process.removeListener('SIGINT', interrupt);
    await engine.close();
  }
}

async function readPrompt(given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  if (process.stdin.isTTY) {
    throw new VitrineError('INVALID_OPTION', '--prompt is required when nothing comes on standard input', {
      param: '--prompt',
    });
  }
  return (await readAll(process.stdin)).replace(/\r?\n$/, '');
}

/** Of all options those that the engine knows. */
function launchOptions(options: GenerateOptions): EngineLaunchOptions {
  const keys = new Set<string>([...SCHEDULER_OPTIONS, ...FRONTEND_OPTIONS].map(({ key }) => key));
  const given = Object.entries(options).filter(([key, value]) => keys.has(key) && value !== undefined);
  return Object.fromEntries(given) as unknown as EngineLaunchOptions;
}

async function stream(engine: Engine, prompt: string, options: GenerateOptions, signal: AbortSignal): Promise<void> {
  const start = monotonicSeconds();
  let firstAt = 0;
  let tokens = 0;
  let lastText = '';
  const generation = engine.generate({
    prompt,
    signal,
    samplingParams: {
      maxNewTokens: options.maxNewTokens,
      temperature: options.temperature,
      topP: options.topP,
      topK: options.topK,
      minP: options.minP,
      frequencyPenalty: options.frequencyPenalty,
      presencePenalty: options.presencePenalty,
      repetitionPenalty: options.repetitionPenalty,
      ignoreEos: options.ignoreEos,
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.stop === undefined ? {} : { stop: options.stop }),
    },
  });
  for await (const { text, tokenIds } of generation) {
    if (tokens === 0) firstAt = monotonicSeconds();
    tokens += tokenIds.length;
    if (text !== '') lastText = text;
    process.stdout.write(text);
  }
  if (!lastText.endsWith('\n')) process.stdout.write('\n');
  const decode = tokens > 1 ? `, ${((tokens - 1) / (monotonicSeconds() - firstAt)).toFixed(1)} token/s` : '';
  process.stderr.write(`${tokens} tokens, first after ${((firstAt - start) * 1000).toFixed(1)} ms${decode}\n`);
}
