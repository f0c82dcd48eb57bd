// Where a bench writes, so that tests and other programs can take its words.

export interface Output {
  /** Results and progress lines (standard output). */
  print(line: string): void;
  /** Hints and troubles (standard error). */
  warn(line: string): void;
}

export const terminalOutput: Output = {
  print: (line) => void process.stdout.write(`${line}\n`),
  warn: (line) => void process.stderr.write(`${line}\n`),
};
