// Light and dark: what the system wants, what the reader chose, and always light on paper. Colours are the style sheet's;
// canvases are painted with them and must be told when they change.

export type Scheme = 'system' | 'light' | 'dark';

const SERIES_COLOURS = 7;
/** Beyond the colours, and for those who cannot tell them apart. */
const DASHES: readonly number[][] = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [14, 4], [1, 4]];

const listeners: (() => void)[] = [];

export function onThemeChange(listener: () => void): void {
  listeners.push(listener);
}

export function setScheme(scheme: Scheme): void {
  if (scheme === 'system') delete document.documentElement.dataset.scheme;
  else document.documentElement.dataset.scheme = scheme;
  for (const listener of listeners) listener();
}

/** Follows the system, and turns light for the printer. */
export function watchTheme(): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const listener of listeners) listener();
  });
  let chosen: Scheme = 'system';
  addEventListener('beforeprint', () => {
    chosen = (document.documentElement.dataset.scheme as Scheme | undefined) ?? 'system';
    setScheme('light');
  });
  addEventListener('afterprint', () => setScheme(chosen));
}

/** Of a custom property of the style sheet: `--grid`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export const seriesColour = (index: number): string => colour(`--series-${index % SERIES_COLOURS}`);
export const seriesDash = (index: number): number[] => DASHES[index % DASHES.length]!;
