// Small HTTP helpers for tests: JSON in, JSON or server-sent events out.

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read replies of many shapes
  readonly body: any;
  readonly text: string;
}

/** POSTs `body` as JSON (a string goes out as it is). */
export async function post(url: string, body: unknown, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...init.headers },
  });
  return answer(response);
}

export async function get(url: string, init: RequestInit = {}): Promise<Answer> {
  return answer(await fetch(url, init));
}

async function answer(response: Response): Promise<Answer> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: response.status, body, text };
}

/** The events of a finished stream; the last must be [DONE], which is left out. */
// biome-ignore lint/suspicious/noExplicitAny: tests read events of many shapes
export function parseEvents(text: string): any[] {
  const blocks = text.split('\n\n').filter((block) => block !== '');
  const data = blocks.map((block) => {
    if (!block.startsWith('data: ')) throw new Error(`Not an event: ${block}`);
    return block.slice(6);
  });
  if (data.pop() !== '[DONE]') throw new Error(`The stream does not end with [DONE]: ${text.slice(-200)}`);
  return data.map((line) => JSON.parse(line));
}

/** Waits until `condition` holds; fails after some seconds. */
export async function until(condition: () => boolean, what = 'condition'): Promise<void> {
  const end = Date.now() + 60_000; // generous: a loaded machine is no failure
  while (!condition()) {
    if (Date.now() > end) throw new Error(`Waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
