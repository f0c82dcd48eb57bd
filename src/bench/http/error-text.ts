// What a server says when it refuses, whatever the shape it says it in.

const MOST_BODY_TEXT = 300;

/** The message of an `error` value in any of the shapes servers use. */
export function errorText(error: unknown): string {
  if (typeof error === 'string') return error;
  const message = (error as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : JSON.stringify(error);
}

/** The message inside an error body, else the body itself, on one line. */
export function bodyMessage(text: string): string {
  try {
    const body = JSON.parse(text) as { readonly error?: unknown } | null;
    return shorten(errorText(body?.error ?? body));
  } catch {
    return shorten(text);
  }
}

/** One line of at most 300 characters. */
export function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MOST_BODY_TEXT ? `${line.slice(0, MOST_BODY_TEXT)}…` : line;
}
