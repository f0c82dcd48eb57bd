// The progress bar of a run, redrawn a few times a second; silent where the stream is no terminal.
import { SingleBar } from 'cli-progress';

const UPDATE_MS = 250;

export interface ProgressSettings {
  /** Requests to come. */
  readonly total: number;
  /** `Run 2/5 `; '' for the only run. */
  readonly label?: string;
  readonly stream: NodeJS.WriteStream;
  readonly isDisabled: boolean;
}

export class ProgressBar {
  readonly #bar: SingleBar | undefined;
  readonly #figures: () => string;
  readonly #timer: NodeJS.Timeout | undefined;
  #done = 0;

  /** `figures`: what stands behind the bar, asked for when it is drawn. */
  constructor({ total, label = '', stream, isDisabled }: ProgressSettings, figures: () => string) {
    this.#figures = figures;
    if (isDisabled || stream.isTTY !== true) return;
    this.#bar = new SingleBar({
      format: `${label}{bar} {value}/{total} | {duration_formatted} < {eta_formatted}{figures}`,
      stream,
      hideCursor: true,
      barsize: 20,
      etaBuffer: 50,
    });
    this.#bar.start(total, 0, { figures: '' });
    this.#timer = setInterval(() => this.#draw(), UPDATE_MS);
    this.#timer.unref();
  }

  /** One request more has ended. */
  advance(): void {
    this.#done += 1;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#bar?.stop();
  }

  #draw(): void {
    this.#bar?.update(this.#done, { figures: this.#figures() });
  }
}
