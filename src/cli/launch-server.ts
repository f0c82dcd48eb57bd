// `vitrine launch-server`: runs the server until it is told to stop.
import type { ServerOptions } from '../config/tables/server-options.js';
import { launchServer } from '../server/launch-server.js';

/** Resolves with the exit code once the server has closed. */
export async function run(options: ServerOptions): Promise<number> {
  const server = await launchServer(options);
  return server.closed;
}
