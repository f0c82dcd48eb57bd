// A table with borders and centred cells, as SGLang's small programs print.

export function borderedTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const border = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const centre = (text: string, width: number) => text.padStart(text.length + (width - text.length) / 2).padEnd(width);
  const line = (cells: readonly string[]) => `|${cells.map((cell, i) => ` ${centre(cell, widths[i]!)} `).join('|')}|`;
  return [border, line(header), border, ...rows.map(line), border];
}
