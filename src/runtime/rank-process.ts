// Entry of a rank process: loads the model and runs its scheduler over the pipe to the front end. Exits with the
// scheduler's code, and when the front end is gone.
//
// VITRINE_FAIL_STEP=N is a fault injection for tests: the N-th step of the engine gets a corrupt batch and fails.
import { Socket } from 'node:net';
import type { FrontendMessage, SchedulerMessage } from '../messages/channel.js';
import { SocketChannel } from '../messages/socket-channel.js';
import { prepareModel } from '../model/prepare-model.js';
import type { NativeAddon } from '../native/addon.js';
import { loadAddon } from '../native/load.js';
import { startScheduler } from '../scheduler/start-scheduler.js';
import { toError, VitrineError } from '../util/errors.js';
import { createLog } from '../util/log.js';
import { withFailingStep } from './failing-addon.js';
import { RANK_CHANNEL_FD, type RankConfig } from './rank-config.js';

const socket = new Socket({ fd: RANK_CHANNEL_FD, readable: true, writable: true });
const channel = new SocketChannel<FrontendMessage, SchedulerMessage | RankConfig>(socket);

// A terminal sends Ctrl-C, and an init system its SIGTERM, to the front end and its ranks alike. The front end decides: it
// drains, then closes the channel.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

process.on('uncaughtException', (error) => {
  process.stderr.write(`rank: ${error.stack ?? error.message}\n`);
  fail(error);
});

channel.onClose(() => process.exit(0)); // until the scheduler takes over
channel.onMessage((message) => {
  if (message.kind === 'rank-config') run(message).catch(fail);
});

async function run({ options, logLevel }: RankConfig): Promise<void> {
  const log = createLog(logLevel, 'rank 0');
  const model = await prepareModel(options, log);
  const scheduler = startScheduler({
    addon: addonOf(process.env.VITRINE_FAIL_STEP),
    model,
    options,
    channel: channel as SocketChannel<FrontendMessage, SchedulerMessage>,
    log,
    ownThread: true,
  });
  exitAfterFlush(await scheduler.closed);
}

function addonOf(failStep: string | undefined): NativeAddon {
  const addon = loadAddon();
  return failStep === undefined ? addon : withFailingStep(addon, Number(failStep));
}

function fail(thrown: unknown): void {
  const error = toError(thrown);
  const code = error instanceof VitrineError ? error.code : 'INTERNAL';
  channel.send({ kind: 'fatal', code, message: error.message });
  channel.close();
  exitAfterFlush(1);
}

/** What was sent must reach the front end before this process goes. */
function exitAfterFlush(code: number): void {
  if (socket.writableFinished || socket.destroyed) process.exit(code);
  socket.once('finish', () => process.exit(code));
  socket.once('close', () => process.exit(code));
  setTimeout(() => process.exit(code), 5000).unref(); // the front end hangs
}
