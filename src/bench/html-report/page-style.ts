// The style sheet of a report's page. Series colours are those of Okabe and Ito (2008), which stay apart for colour-blind
// eyes; on dark ground the darkest two are lightened.

export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f6f7f9; --text: #1b1f24; --muted: #57606a; --grid: #e3e6ea; --border: #d0d7de;
  --band: #0072b21a; --queue: #b6bcc4; --prefill: #e69f00; --decode: #0072b2; --failed: #b0186f;
  --series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #cc79a7; --series-4: #e69f00;
  --series-5: #56b4e9; --series-6: #1b1f24;
}
@media (prefers-color-scheme: dark) { :root:not([data-scheme=light]) { DARK } }
:root[data-scheme=dark] { DARK }
:root[data-scheme=light] { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 16px clamp(12px, 3vw, 32px) 48px; }
header { display: flex; flex-wrap: wrap; gap: 8px 24px; justify-content: space-between; align-items: baseline; }
h1 { font-size: 1.5rem; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 32px 0 8px; border-bottom: 1px solid var(--border); padding-bottom: 4px; }
h3 { font-size: 1rem; margin: 12px 0 4px; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 10px; }
.card { background: var(--raised); border: 1px solid var(--border); border-radius: 6px; padding: 8px 12px; }
.card span { display: block; color: var(--muted); font-size: 0.85rem; }
.card b { font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 20px; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; margin: 6px 0; }
figcaption span, .note, .toolbar span { color: var(--muted); font-size: 0.85rem; }
.chart { position: relative; min-height: 260px; }
[data-chart=timeline] .chart { min-height: 160px; }
.toolbar, .legend, .key { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin: 8px 0; }
.legend { border: 1px solid var(--border); border-radius: 6px; padding: 4px 12px 8px; margin-inline: 0; }
.legend legend { color: var(--muted); font-size: 0.85rem; padding: 0 4px; }
.legend svg { margin: 0 6px 0 4px; vertical-align: middle; }
.runs { position: sticky; top: 0; z-index: 20; background: var(--ground); padding: 4px 0; }
.runs .legend { max-height: 30vh; overflow: auto; }
label { cursor: pointer; overflow-wrap: anywhere; }
button, select { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--border);
  border-radius: 6px; padding: 2px 10px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--series-0); outline-offset: 2px; }
.mark { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px; vertical-align: -1px; }
.key { font-size: 0.85rem; }
.tooltip { position: absolute; z-index: 10; pointer-events: none; width: max-content; max-width: min(340px, 80%);
  background: var(--raised); color: var(--text); border: 1px solid var(--border); border-radius: 6px; padding: 6px 10px;
  font-size: 0.85rem; overflow-wrap: anywhere; box-shadow: 0 2px 8px #0003; font-variant-numeric: tabular-nums; }
.tooltip[hidden] { display: none; }
.u-select { background: var(--series-0); opacity: 0.15; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td { padding: 3px 12px; text-align: right; border-bottom: 1px solid var(--grid); max-width: 48ch; overflow-wrap: break-word; }
thead th { color: var(--muted); font-weight: 600; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; }
.failures li { overflow-wrap: anywhere; }
.about { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 8px 32px; }
dl { display: grid; grid-template-columns: fit-content(45%) 1fr; gap: 2px 16px; margin: 0; font-size: 0.9rem; }
dt { color: var(--muted); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print {
  main { max-width: none; padding: 0; }
  header label, .toolbar, .runs { display: none; }
  .scroll { overflow: visible; }
  section { break-inside: auto; }
}
`.replaceAll(
  'DARK',
  `color-scheme: dark;
  --ground: #14171c; --raised: #1f242b; --text: #e6e9ed; --muted: #9aa4af; --grid: #2c323a; --border: #3a424c;
  --band: #56b4e926; --queue: #59636f; --prefill: #e69f00; --decode: #3d9bdc; --failed: #ff8ac6;
  --series-0: #4ba3e3; --series-1: #ff8a3d; --series-2: #22c498; --series-3: #e29cc4; --series-4: #f0b429;
  --series-5: #8fd3ff; --series-6: #e6e9ed;`,
);
