// The blocks of figures that SGLang's benches print: 50 columns between lines of signs.

export const WIDTH = 50;

export function row(label: string, value: string): string {
  return `${label.padEnd(40)} ${value.padEnd(10)}`;
}

/** `title` in the middle of a line of `fill`. */
export function heading(title: string, fill: string): string {
  const left = Math.floor((WIDTH - title.length) / 2);
  return title.padStart(title.length + left, fill).padEnd(WIDTH, fill);
}
