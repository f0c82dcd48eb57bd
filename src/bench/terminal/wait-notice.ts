// Tells on stderr what is being waited for: one line that changes on a terminal, else a line now and then.
import { monotonicSeconds } from '../../util/clock.js';

const LINE_EVERY_SECONDS = 5;

export interface WaitNotice {
  /** The wait goes on; `text` says for what. */
  update(text: string): void;
  /** It is over. */
  end(): void;
}

interface Stream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export function streamNotice(stream: Stream): WaitNotice {
  let shown = '';
  let at = Number.NEGATIVE_INFINITY;
  if (stream.isTTY) {
    return {
      update: (text) => {
        if (text !== shown) stream.write(`\r\x1b[K${text}`);
        shown = text;
      },
      end: () => {
        if (shown !== '') stream.write('\r\x1b[K');
        shown = '';
      },
    };
  }
  return {
    update: (text) => {
      if (monotonicSeconds() - at < LINE_EVERY_SECONDS) return;
      at = monotonicSeconds();
      stream.write(`${text}\n`);
    },
    end: () => {},
  };
}
