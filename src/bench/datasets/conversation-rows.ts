// The first question and answer of rows in ShareGPT's form: {"conversations": [{"value": …}, …]}.
import { isJsonObject } from '../../util/read-json.js';
import { inTurns } from './in-turns.js';
import type { JsonElement } from './json-array.js';
import type { RowCounter } from './row-counter.js';

export interface Conversation {
  readonly question: string;
  readonly answer: string;
}

/** The first two turns of every row that has them; other rows are counted and left out. */
export async function collectConversations(
  rows: AsyncIterable<JsonElement>,
  skipped: RowCounter,
  signal?: AbortSignal,
): Promise<Conversation[]> {
  const conversations: Conversation[] = [];
  for await (const row of inTurns(rows, signal)) {
    const conversation = 'value' in row ? readRow(row.value) : 'not valid JSON';
    if (typeof conversation === 'string') skipped.skip(conversation);
    else conversations.push(conversation);
  }
  return conversations;
}

/** The conversation, or why the row has none. */
function readRow(row: unknown): Conversation | string {
  if (!isJsonObject(row)) return 'row is not an object';
  const { conversations, conversation } = row;
  const turns = conversations ?? conversation;
  if (!Array.isArray(turns)) return 'no list of conversations';
  if (turns.length < 2) return 'fewer than two turns';
  const [question, answer] = turns.slice(0, 2).map(textOf);
  if (typeof question !== 'string' || typeof answer !== 'string') return 'a turn without text';
  return { question, answer };
}

/** ShareGPT says `value`, chat logs say `content`. */
function textOf(turn: unknown): unknown {
  const { content, value } = (turn ?? {}) as { content?: unknown; value?: unknown };
  return content ?? value;
}
