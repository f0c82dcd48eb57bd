// Addresses and keys as they come from the command line and the environment.
import { VitrineError } from '../../util/errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The address without a slash at its end. @throws VitrineError INVALID_OPTION that names `flag` */
export function checkAddress(flag: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    const message = `${flag}: expected an http:// or https:// address, got '${text}'`;
    throw new VitrineError('INVALID_OPTION', message, { param: flag });
  }
  return text.replace(/\/+$/, '');
}

/** `http://host:port`, also for the literal addresses of IPv6. */
export function hostAddress(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Headers that show who asks: `apiKey` or OPENAI_API_KEY as a bearer token, else API_KEY as it is, as SGLang does. */
export function authorization(environment: Environment, apiKey?: string): Record<string, string> {
  const { OPENAI_API_KEY: openAi, API_KEY: raw } = environment;
  const bearer = apiKey || openAi;
  if (bearer) return { authorization: `Bearer ${bearer}` };
  return raw ? { authorization: raw } : {};
}
