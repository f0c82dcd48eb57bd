// From token ids to text, synchronously: the decoders of tokenizer.json that current models use, rebuilt here because
// the library's decode is asynchronous and text is needed per token on the event loop.
import type { Decoder } from 'tokenizers';
import { VitrineError } from '../util/errors.js';
import { isJsonObject, type JsonObject } from '../util/read-json.js';
import { ByteLevelDecoder } from './byte-level-decoder.js';
import { JoinDecoder, LibraryDecoder } from './library-decoder.js';
import { MetaspaceDecoder } from './metaspace-decoder.js';
import { PieceDecoder, type PieceRules } from './piece-decoder.js';
import type { TokenDecoder } from './token-decoder.js';
import type { Vocabulary } from './vocabulary.js';

/** `json`: "decoder" of tokenizer.json; `library`: the same decoder, used where none of ours fits. */
export function createTokenDecoder(json: unknown, vocabulary: Vocabulary, library: Decoder | null): TokenDecoder {
  if (library === null) return new JoinDecoder(vocabulary);
  const steps = flatten(json);
  if (steps.some((step) => step.type === 'Strip' && step.stop !== 0)) {
    // It cannot be streamed, and the library's own aborts the process on an empty token.
    throw new VitrineError('TOKENIZER_INVALID', 'tokenizer.json: decoder Strip with "stop" above 0 is not supported.');
  }
  if (steps.length === 1 && steps[0]!.type === 'ByteLevel') return new ByteLevelDecoder(vocabulary);
  if (steps.length === 1 && steps[0]!.type === 'Metaspace') {
    const metaspace = steps[0]!;
    return new MetaspaceDecoder(vocabulary, String(metaspace.replacement), metaspace.prepend_scheme === 'never');
  }
  const rules = pieceRules(steps);
  return rules === undefined ? new LibraryDecoder(vocabulary, library) : new PieceDecoder(vocabulary, rules);
}

function flatten(json: unknown): JsonObject[] {
  if (!isJsonObject(json)) return [];
  return json.type === 'Sequence' && Array.isArray(json.decoders) ? json.decoders.flatMap(flatten) : [json];
}

/** The sentencepiece family: Replace…, ByteFallback, Fuse, Strip, in this order; undefined for anything else. */
function pieceRules(steps: readonly JsonObject[]): PieceRules | undefined {
  const replacements: { from: string; to: string }[] = [];
  let byteFallback = false;
  let fused = false;
  let strip: PieceRules['strip'] = null;
  const order = ['Replace', 'ByteFallback', 'Fuse', 'Strip'];
  let reached = 0;
  for (const step of steps) {
    const place = order.indexOf(String(step.type));
    if (place < reached) return undefined;
    reached = place;
    if (step.type === 'Replace') {
      const pattern = isJsonObject(step.pattern) ? step.pattern.String : undefined;
      if (typeof pattern !== 'string' || pattern === '' || typeof step.content !== 'string') return undefined;
      replacements.push({ from: pattern, to: step.content });
    } else if (step.type === 'ByteFallback') {
      byteFallback = true;
    } else if (step.type === 'Fuse') {
      fused = true;
    } else {
      // Strip works on the whole text only after Fuse.
      if (!fused || strip !== null) return undefined;
      if (typeof step.content !== 'string' || typeof step.start !== 'number') return undefined;
      strip = { content: step.content, count: step.start };
    }
  }
  return steps.length === 0 ? undefined : { replacements, byteFallback, strip };
}
