// Text that only grows and is sent again and again, as bytes: a string put together of so many pieces would have to be
// flattened and encoded anew each time.

const FIRST_ROOM = 256;
const ASCII = 0x80;

export class GrowingText {
  #buffer = Buffer.allocUnsafeSlow(FIRST_ROOM);
  #length = 0;

  /** UTF-8. What was returned once stays as it is when more is appended. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  append(text: string): void {
    const most = this.#length + 3 * text.length;
    if (most > this.#buffer.length) this.#grow(most);
    const buffer = this.#buffer;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= ASCII) {
        this.#length += buffer.write(text.slice(i), this.#length);
        return;
      }
      buffer[this.#length++] = code;
    }
  }

  /** A new buffer: bytes that were handed out may not have been sent yet. */
  #grow(least: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(least, 2 * this.#buffer.length));
    grown.set(this.bytes);
    this.#buffer = grown;
  }
}
