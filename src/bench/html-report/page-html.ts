// The page of a report: one HTML file that holds its data, its script, its style and the charting library, and asks for
// nothing else.
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ReportData } from './page/report-data.js';
import { PAGE_STYLE } from './page-style.js';

const PAGE_FOLDER = fileURLToPath(new URL('page/', import.meta.url));
/** Nothing may be fetched. The modules of the page are data: URLs. */
const CONTENT_POLICY =
  "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export async function pageHtml(data: ReportData): Promise<string> {
  const require = createRequire(import.meta.url);
  const uplot = dirname(require.resolve('uplot/package.json'));
  const [script, style, modules] = await Promise.all([
    readFile(join(uplot, 'dist', 'uPlot.iife.min.js'), 'utf8'),
    readFile(join(uplot, 'dist', 'uPlot.min.css'), 'utf8'),
    pageModules(),
  ]);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${CONTENT_POLICY}">
<title>${escapeText(data.title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main id="report"><noscript>The charts of this report need JavaScript.</noscript></main>
<script type="application/json" id="report-data">${escapeJson(data)}</script>
<script>${script}</script>
<script type="importmap">${escapeJson({ imports: modules })}</script>
<script type="module">import 'page/main';</script>
</body>
</html>
`;
}

/**
 * Name → data: URL of every module of the page. A module at a data: URL has no folder to look for './chart.js' in, so the
 * compiler's relative names become bare ones, which an import map resolves.
 */
async function pageModules(): Promise<Record<string, string>> {
  const names = (await readdir(PAGE_FOLDER)).filter((name) => name.endsWith('.js'));
  const entries = names.map(async (name): Promise<[string, string]> => {
    const source = await readFile(join(PAGE_FOLDER, name), 'utf8');
    const text = source.replace(/from '\.\/([\w-]+)\.js'/g, "from 'page/$1'");
    return [`page/${name.slice(0, -3)}`, `data:text/javascript;base64,${Buffer.from(text).toString('base64')}`];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** JSON that cannot end its script element, and that is JavaScript too. */
export function escapeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
