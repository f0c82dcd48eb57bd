// Entry of a server process that another program started (see child-server.ts): serves what the first message asks for,
// tells its address or why there is none, and ends with its parent.
import { toError, VitrineError } from '../util/errors.js';
import type { ServerProcessMessage, ServerProcessOrder } from './child-server.js';
import { launchServer } from './launch-server.js';

const tell = (message: ServerProcessMessage): Promise<void> =>
  new Promise((resolve) => {
    if (!process.connected) return resolve();
    process.send!(message, undefined, undefined, () => resolve());
  });

// As a supervisor would: the server drains, and a server that still loads ends too.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));

process.once('message', async ({ options }: ServerProcessOrder) => {
  let code = 1;
  try {
    const server = await launchServer(options);
    void tell({ kind: 'ready', url: server.url });
    code = await server.closed;
  } catch (thrown) {
    const error = toError(thrown);
    await tell({
      kind: 'failed',
      code: error instanceof VitrineError ? error.code : 'INTERNAL',
      message: error.message,
      param: (error instanceof VitrineError && error.param) || null,
    });
  }
  process.exit(code);
});
