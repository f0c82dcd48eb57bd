// A server in a process of its own for the programs of this directory, and the processor time that it takes (Linux).
import { readdirSync, readFileSync } from 'node:fs';
import { resolveOptions } from '../dist/config/resolve-options.js';
import { SERVER_OPTIONS } from '../dist/config/tables/server-options.js';
import { ChildServer } from '../dist/server/child-server.js';

/** Resolves when the model is loaded: { url, pid, stop }. */
export async function startServer(options) {
  const resolved = resolveOptions(SERVER_OPTIONS, { port: 0, logLevel: 'error', ...options });
  const child = ChildServer.launch(resolved, (line) => console.error(line));
  return { url: await child.ready, pid: child.pid, stop: () => child.stop() };
}

/**
 * Milliseconds of processor time so far of a server's processes, front end and rank, by who took it: JavaScript, the engine
 * with its workers, and the rest (the threads of V8 and libuv).
 */
export function processorMs(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const sums = { frontEnd: 0, scheduler: 0, engine: 0, rest: 0 };
  for (const process of [String(pid), ...children]) {
    for (const task of readdirSync(`/proc/${process}/task`)) {
      const directory = `/proc/${process}/task/${task}`;
      const ms = Number(readFileSync(`${directory}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
      if (readFileSync(`${directory}/comm`, 'utf8').startsWith('vitrine-')) sums.engine += ms;
      else if (task !== process) sums.rest += ms;
      else if (process === String(pid)) sums.frontEnd += ms;
      else sums.scheduler += ms;
    }
  }
  return sums;
}
