// POST and PUT /generate.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RequestState } from '../frontend/request-state.js';
import { type JsonParts, joinJson } from './json-text.js';
import type { Lifecycle } from './lifecycle.js';
import { NativeOutput, type NativeOutputOptions } from './native-output.js';
import { parseNativeRequest } from './native-request.js';
import { collectOutputs, OutputStream, prepareAll, type StreamFormat } from './outputs.js';

export interface NativeApiOptions {
  readonly streamOutput: boolean;
  readonly enableMetrics: boolean;
}

export function installNativeApi(app: FastifyInstance, lifecycle: Lifecycle, options: NativeApiOptions): void {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { manager } = lifecycle.services();
    const { requests, single, stream, textInLogprobs } = parseNativeRequest(request.body, manager.info.vocabSize);
    const prepared = await prepareAll(manager, requests);
    lifecycle.services(); // encoding may have taken long
    const asObject = single && prepared.length === 1;
    const output: NativeOutputOptions = {
      tokenizer: manager.tokenizer,
      disjointIds: stream && options.streamOutput,
      textInLogprobs,
      timings: options.enableMetrics,
    };
    if (stream) {
      OutputStream.start(reply, manager, prepared, new NativeStreamFormat(output, !asObject));
      return reply;
    }
    const states = await collectOutputs(reply, manager, prepared);
    if (states === null) return reply.hijack();
    const results = states.map((state) => joinJson(new NativeOutput(state, output, null).json()));
    return reply.type('application/json; charset=utf-8').send(asObject ? results[0] : `[${results.join(',')}]`);
  };
  app.route({ method: ['POST', 'PUT'], url: '/generate', config: { dialect: 'native' }, handler });
}

class NativeStreamFormat implements StreamFormat {
  readonly dialect = 'native';
  readonly #options: NativeOutputOptions;
  readonly #indexed: boolean;
  readonly #outputs = new Map<RequestState, NativeOutput>();

  constructor(options: NativeOutputOptions, indexed: boolean) {
    this.#options = options;
    this.#indexed = indexed;
  }

  events(state: RequestState, index: number): readonly JsonParts[] {
    let output = this.#outputs.get(state);
    if (output === undefined) {
      output = new NativeOutput(state, this.#options, this.#indexed ? index : null);
      this.#outputs.set(state, output);
    }
    return [output.json()];
  }

  closing(): readonly string[] {
    return [];
  }
}
