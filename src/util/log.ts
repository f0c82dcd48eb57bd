// Structured log lines on stderr (pino). Loggers are passed in by constructors; there is no global one.
import { destination, type Logger, pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type Log = Logger;

/** A logger named for its part of the house: `frontend`, `rank 0`, … */
export function createLog(level: LogLevel, name: string): Log {
  return pino({ level, name, base: { name } }, destination({ dest: 2, sync: true }));
}

export const silentLog: Log = pino({ level: 'silent' });
