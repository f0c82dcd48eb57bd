// The arrays of --output-details: SGLang's, and what else it takes to draw a run or compute its figures again from the
// file alone. Every array has one entry for each turn of each request, in the order of the workload.
import { VitrineError } from '../../../util/errors.js';
import type { BenchRequest } from '../../datasets/bench-request.js';
import type { ResultRow } from '../../results/figures.js';
import { isSuccess, type RequestRecord } from '../load/request-record.js';
import type { MeasuredRun } from '../metrics/measured-run.js';
import { outputLength } from '../metrics/request-figures.js';

export type RequestStatus = 'ok' | 'failed' | 'interrupted' | 'not sent';

export interface RequestDetails {
  /** SGLang's: seconds; 0, '' and [] for requests that failed or were not sent. */
  readonly input_lens: readonly number[];
  readonly output_lens: readonly number[];
  readonly ttfts: readonly number[];
  readonly itls: readonly (readonly number[])[];
  readonly generated_texts: readonly string[];
  readonly errors: readonly string[];
  /** Position in the workload, and turn of the conversation (0 for the first). */
  readonly request_indices: readonly number[];
  readonly turns: readonly number[];
  readonly statuses: readonly RequestStatus[];
  /** Due, sent and last byte: seconds after the start of the load; null for requests that were not sent. */
  readonly arrivals: readonly (number | null)[];
  readonly starts: readonly (number | null)[];
  readonly ends: readonly (number | null)[];
  /** Sent to first chunk with a token, text or not: seconds; null where none came. */
  readonly first_tokens: readonly (number | null)[];
  readonly requested_lens: readonly number[];
  /** By the server; null where it did not say. */
  readonly completion_tokens: readonly (number | null)[];
  readonly server_input_lens: readonly (number | null)[];
  /** Prompt tokens from the server's prefix cache; null where it did not say. */
  readonly cached_tokens: readonly (number | null)[];
  readonly retokenized_lens: readonly number[];
  /** Tokens of the chunk that ended each gap; only where gaps are shared among them (accept length). */
  readonly itl_tokens?: readonly (readonly number[])[];
}

export function requestDetails(requests: readonly BenchRequest[], run: MeasuredRun): RequestDetails {
  const { records, retokenized, gapTokens, start } = run;
  const positions = new Map(records.map(({ index, turn }, position) => [`${index}/${turn}`, position]));
  const slots = requests.flatMap((request, index) => {
    const lengths = [request.outputLen, ...(request.followUps ?? []).map(({ outputLen }) => outputLen)];
    return lengths.map((requestedLen, turn) => {
      const position = positions.get(`${index}/${turn}`);
      // The prompt of a later turn holds the answers before it: unknown until it is sent.
      const promptLen = turn === 0 ? request.promptLen : 0;
      return { index, turn, requestedLen, promptLen, position };
    });
  });
  const ofSent = <T, U>(read: (record: RequestRecord, position: number) => T, otherwise: U): (T | U)[] =>
    slots.map(({ position }) => (position === undefined ? otherwise : read(records[position]!, position)));
  const ofSuccess = <T, U>(read: (record: RequestRecord, position: number) => T, otherwise: U): (T | U)[] =>
    ofSent((record, position) => (isSuccess(record) ? read(record, position) : otherwise), otherwise);
  return {
    input_lens: slots.map(({ position, promptLen }) =>
      position === undefined ? promptLen : records[position]!.promptLen,
    ),
    output_lens: ofSuccess((record, position) => outputLength(record, retokenized[position]!), 0),
    ttfts: ofSuccess((record) => record.ttft ?? 0, 0),
    itls: ofSuccess<readonly number[], readonly number[]>((record) => record.gaps, []),
    generated_texts: ofSuccess((record) => record.text, ''),
    errors: ofSent((record) => record.error, 'not sent'),
    request_indices: slots.map(({ index }) => index),
    turns: slots.map(({ turn }) => turn),
    statuses: ofSent<RequestStatus, RequestStatus>(statusOf, 'not sent'),
    arrivals: ofSent((record) => record.arrivedAt - start, null),
    starts: ofSent((record) => record.sentAt - start, null),
    ends: ofSent((record) => record.endedAt - start, null),
    first_tokens: ofSent((record) => record.firstToken ?? null, null),
    requested_lens: slots.map(({ requestedLen }) => requestedLen),
    completion_tokens: ofSent((record) => record.completionTokens ?? null, null),
    server_input_lens: ofSent((record) => record.promptTokens ?? null, null),
    cached_tokens: ofSent((record) => record.cachedTokens ?? null, null),
    retokenized_lens: ofSuccess((_, position) => retokenized[position]!, 0),
    ...(gapTokens === undefined
      ? {}
      : { itl_tokens: ofSuccess<readonly number[], readonly number[]>((_, position) => gapTokens[position]!, []) }),
  };
}

function statusOf(record: RequestRecord): RequestStatus {
  if (record.interrupted) return 'interrupted';
  return record.error === '' ? 'ok' : 'failed';
}

/**
 * The run that a saved row tells of, with its start at 0 seconds. Texts of single chunks and cached tokens are not in the file.
 * @throws VitrineError BENCH_FAILED, where the row was saved without --output-details
 */
export function savedRun(row: ResultRow): MeasuredRun {
  // A row of SGLang has six of the arrays, and no times.
  if (!Array.isArray(row.starts) || !Array.isArray(row.statuses)) {
    throw new VitrineError('BENCH_FAILED', 'the result has no times of single requests: save it with --output-details');
  }
  const details = row as unknown as RequestDetails & { readonly [key: string]: unknown };
  const slots = details.statuses.flatMap((status, slot) => (status === 'not sent' ? [] : [slot]));
  const records = slots.map((slot): RequestRecord => {
    const isOk = details.statuses[slot] === 'ok';
    const ttft = details.ttfts[slot]!;
    return {
      index: details.request_indices[slot]!,
      turn: details.turns[slot]!,
      promptLen: details.input_lens[slot]!,
      requestedLen: details.requested_lens[slot]!,
      arrivedAt: details.arrivals[slot]!,
      sentAt: details.starts[slot]!,
      endedAt: details.ends[slot]!,
      error: details.errors[slot]!,
      interrupted: details.statuses[slot] === 'interrupted',
      ttft: isOk && ttft > 0 ? ttft : undefined,
      firstToken: details.first_tokens[slot] ?? undefined,
      gaps: details.itls[slot]!,
      gapTexts: [],
      text: details.generated_texts[slot]!,
      completionTokens: details.completion_tokens[slot] ?? undefined,
      promptTokens: details.server_input_lens[slot] ?? undefined,
      cachedTokens: details.cached_tokens[slot] ?? undefined,
    };
  });
  const gapTokens = details.itl_tokens;
  return {
    records,
    start: 0,
    startedAt: Date.parse(String(row.started_at)),
    duration: Number(row.duration),
    retokenized: slots.map((slot) => details.retokenized_lens[slot]!),
    acceptLength: typeof row.accept_length === 'number' ? row.accept_length : undefined,
    gapTokens: gapTokens === undefined ? undefined : slots.map((slot) => gapTokens[slot]!),
  };
}
