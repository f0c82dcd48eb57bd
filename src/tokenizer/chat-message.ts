// Chat messages as they come in, and as a chat template wants them.
import { VitrineError } from '../util/errors.js';
import { describeJson, isJsonObject } from '../util/read-json.js';

export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

/** Unknown keys (name, tool_calls, tool_call_id, reasoning_content, …) go to the template as they are. */
export interface ChatMessage {
  readonly role: string;
  /** null only where the message has something else to say, e.g. tool_calls. */
  readonly content?: string | readonly TextPart[] | null;
  readonly [key: string]: unknown;
}

/**
 * Checks the messages and brings their content into the form the template handles: `parts` (a list of parts, where the
 * message has one) or a plain string (the parts joined by a space, as in SGLang). Arguments of tool calls become objects,
 * since templates print them as JSON. Error: INVALID_REQUEST with the path of the field.
 */
export function normalizeMessages(messages: readonly ChatMessage[], keepParts: boolean): Record<string, unknown>[] {
  if (messages.length === 0) throw invalid('messages', 'must hold at least one message.');
  return messages.map((message, index) => {
    const path = `messages[${index}]`;
    if (!isJsonObject(message)) throw invalid(path, `must be an object, got ${describeJson(message)}.`);
    if (typeof message.role !== 'string') {
      throw invalid(`${path}.role`, `must be a string, got ${describeJson(message.role)}.`);
    }
    const normal: Record<string, unknown> = { ...message, content: normalizeContent(message.content, path, keepParts) };
    if (message.tool_calls !== undefined && message.tool_calls !== null) {
      normal.tool_calls = normalizeToolCalls(message.tool_calls, path);
    }
    return normal;
  });
}

function normalizeContent(content: unknown, path: string, keepParts: boolean): unknown {
  if (content === undefined || content === null) return keepParts ? null : '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) {
    throw invalid(`${path}.content`, `must be a string or an array of text parts, got ${describeJson(content)}.`);
  }
  const parts = content.map((part, index) => readTextPart(part, `${path}.content[${index}]`));
  return keepParts ? parts : parts.map((part) => part.text).join(' ');
}

function readTextPart(part: unknown, path: string): TextPart {
  if (!isJsonObject(part)) throw invalid(path, `must be an object, got ${describeJson(part)}.`);
  if (part.type !== 'text') {
    throw invalid(`${path}.type`, `must be "text": only text is supported, got ${describeJson(part.type)}.`);
  }
  if (typeof part.text !== 'string') throw invalid(`${path}.text`, `must be a string, got ${describeJson(part.text)}.`);
  return { type: 'text', text: part.text };
}

function normalizeToolCalls(calls: unknown, path: string): unknown {
  if (!Array.isArray(calls)) throw invalid(`${path}.tool_calls`, `must be an array, got ${describeJson(calls)}.`);
  return calls.map((call: unknown) => {
    const called = isJsonObject(call) ? call.function : undefined;
    if (!isJsonObject(call) || !isJsonObject(called) || typeof called.arguments !== 'string') return call;
    try {
      return { ...call, function: { ...called, arguments: JSON.parse(called.arguments) as unknown } };
    } catch {
      return call;
    }
  });
}

function invalid(path: string, problem: string): VitrineError {
  return new VitrineError('INVALID_REQUEST', `${path} ${problem}`, { param: path });
}
