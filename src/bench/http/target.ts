// Addresses and keys as they come from the command line and the environment.
import { validateHeaderValue } from 'node:http';
import { VitrineError } from '../../util/errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The address without a slash at its end. @throws VitrineError INVALID_OPTION that names `flag` */
export function checkAddress(flag: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    const message = `${flag}: expected an http:// or https:// address, got '${text}'`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag });
  }
  if (url.search !== '' || url.hash !== '') {
    const message = `${flag}: expected an address that paths can be added to, without ? and #, got '${text}'`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag });
  }
  return text.replace(/\/+$/, '');
}

/** `http://host:port`, also for the literal addresses of IPv6. */
export function hostAddress(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** @throws VitrineError INVALID_OPTION that names `source`; the value may be a key, and is not told */
export function checkHeaderValue(source: string, value: string): string {
  try {
    validateHeaderValue('value', value);
  } catch {
    const message = `${source}: expected a value without line ends and characters beyond Latin-1, as HTTP needs it`;
    throw new VitrineError('INVALID_OPTION', message, { param: source });
  }
  return value;
}

/**
 * Headers that show who asks: `apiKey` or OPENAI_API_KEY as a bearer token, else API_KEY as it is, as SGLang does.
 * @throws VitrineError INVALID_OPTION
 */
export function authorization(environment: Environment, apiKey?: string): Record<string, string> {
  const { OPENAI_API_KEY: openAi, API_KEY: raw } = environment;
  if (apiKey) return { authorization: `Bearer ${checkHeaderValue('--api-key', apiKey)}` };
  if (openAi) return { authorization: `Bearer ${checkHeaderValue('OPENAI_API_KEY', openAi)}` };
  return raw ? { authorization: checkHeaderValue('API_KEY', raw) } : {};
}
