// Sends the turns of one request one after the other, each with all that was said before it.
import type { BenchRequest, ChatMessage, FollowUp } from '../../datasets/bench-request.js';
import type { RequestRecord } from './request-record.js';

export const NOT_SENT = 'not sent: an earlier turn failed';

export interface ConversationDeps {
  /** Sends one turn; must not reject. `arrivedAt`: when it was due (monotonic seconds). */
  readonly send: (request: BenchRequest, turn: number, arrivedAt: number) => Promise<RequestRecord>;
  /** Called once for each turn, in their order, those that a failure kept from being sent included. */
  readonly onRecord: (record: RequestRecord) => void;
  /** Tokens of an answer, where the server does not say. */
  readonly countTokens: (text: string) => Promise<number>;
  /** No further turn is sent after it fires. */
  readonly signal: AbortSignal;
}

/** A request without follow-ups is a conversation of one turn. A later turn is due when the answer before it has ended. */
export async function converse(request: BenchRequest, arrivedAt: number, deps: ConversationDeps): Promise<void> {
  const { followUps = [], ...opening } = request;
  let record = await deps.send(opening, 0, arrivedAt);
  deps.onRecord(record);
  let messages = openingMessages(request);
  for (const [i, followUp] of followUps.entries()) {
    if (record.interrupted || deps.signal.aborted) return;
    const turn = i + 1;
    if (record.error !== '') {
      record = notSent(record, turn, followUp);
      deps.onRecord(record);
      continue;
    }
    messages = [...messages, { role: 'assistant', content: record.text }, { role: 'user', content: followUp.text }];
    const answerLen = record.completionTokens ?? (await deps.countTokens(record.text));
    const promptLen = record.promptLen + answerLen + followUp.tokens;
    const next = { ...opening, prompt: messages, promptLen, outputLen: followUp.outputLen };
    const sent = await deps.send(next, turn, record.endedAt);
    // The server counts the template around each message too.
    record = { ...sent, promptLen: sent.promptTokens ?? promptLen };
    deps.onRecord(record);
  }
}

/** Follow-ups need text or messages before them; `checkWorkload` refuses token ids. */
function openingMessages({ prompt }: BenchRequest): readonly ChatMessage[] {
  return typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : (prompt as readonly ChatMessage[]);
}

function notSent(earlier: RequestRecord, turn: number, followUp: FollowUp): RequestRecord {
  const { index, promptLen, endedAt } = earlier;
  return {
    index,
    turn,
    promptLen: promptLen + followUp.tokens,
    requestedLen: followUp.outputLen,
    arrivedAt: endedAt,
    sentAt: endedAt,
    endedAt,
    error: NOT_SENT,
    interrupted: false,
    ttft: undefined,
    firstToken: undefined,
    gaps: [],
    gapTexts: [],
    text: '',
    completionTokens: undefined,
    promptTokens: undefined,
    cachedTokens: undefined,
  };
}
