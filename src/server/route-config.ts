// What a route says about itself to the hooks that all routes share.

/** Which API a route belongs to: decides the shape of its errors. */
export type Dialect = 'native' | 'openai';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Default: `openai`, which is also SGLang's shape for everything but /generate. */
    dialect?: Dialect;
    /** Asks for the admin key where there is one. */
    admin?: boolean;
  }
}
