// Builds the page of a report from the data that is embedded in it. Runs in the reader's browser.
import { element, select } from './dom.js';
import type { ReportData } from './report-data.js';
import { about, failures, section, summary, table } from './sections.js';
import { type ChartedRun, servingSections } from './serving-section.js';
import { sweepSection } from './sweep-section.js';
import { type Scheme, setScheme, watchTheme } from './theme.js';

const SCHEMES: readonly Scheme[] = ['system', 'light', 'dark'];

const data = JSON.parse(document.getElementById('report-data')!.textContent!) as ReportData;
const page = document.getElementById('report')!;

watchTheme();
const scheme = select('Colours', SCHEMES, (index) => setScheme(SCHEMES[index]!));
page.replaceChildren(element('header', {}, element('h1', {}, data.title), scheme));

const { runs, sweep } = data;
if (runs.length > 0) {
  const charted = runs.flatMap(({ label, charts }): ChartedRun[] => (charts === undefined ? [] : [{ label, charts }]));
  page.append(summary(runs), ...[failures(runs) ?? []].flat());
  if (charted.length < runs.length) page.append(withoutCharts(runs.length - charted.length));
  if (charted.length > 0) page.append(...servingSections(charted));
}
if (sweep.length > 0) page.append(sweepSection(sweep));
page.append(section('Figures', ...data.tables.map(table)), about(data.about));

function withoutCharts(count: number): HTMLElement {
  const text = `${count} of ${runs.length} runs have no charts: their results were saved without --output-details.`;
  return element('p', { class: 'note' }, text);
}
