// API keys. The rules are SGLang's: /health* and /metrics* are open; admin routes take the admin key if there is one (the
// normal key is refused there then), else the normal key; everything else takes the normal key, if there is one.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { VitrineError } from '../util/errors.js';

export interface ApiKeys {
  readonly apiKey: string | undefined;
  readonly adminApiKey: string | undefined;
}

/** For the `onRequest` hook; throws UNAUTHORIZED. */
export function createAuthCheck({ apiKey, adminApiKey }: ApiKeys) {
  const normal = apiKey === undefined ? null : digest(apiKey);
  const admin = adminApiKey === undefined ? normal : digest(adminApiKey);
  return (request: FastifyRequest): void => {
    const needed = request.routeOptions.config.admin === true ? admin : normal;
    if (needed === null || isOpen(request.url) || request.method === 'OPTIONS') return;
    const [, key] = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? '') ?? [];
    // Digests have one length, and the comparison takes the same time for every wrong key.
    if (key === undefined || !timingSafeEqual(digest(key), needed))
      throw new VitrineError('UNAUTHORIZED', 'Unauthorized');
  };
}

function isOpen(url: string): boolean {
  return url.startsWith('/health') || url.startsWith('/metrics');
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
