/** @module How a report looks: on light and dark screens, narrow ones, and paper. */

export const style = `
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --quiet: #59636e; --line: #d5dae0;
  --panel: #f5f7f9; --mark: #2f6f9f; --area: #c9dfee; --good: #1a7f37; --good-ground: #e3f5e7;
  --bad: #b3261e; --bad-ground: #fdeae8; --warn: #8a5a00; --warn-ground: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e4e8ec; --quiet: #9aa5b1;
  --line: #333b45; --panel: #1c2229; --mark: #6cb2e4; --area: #24415a; --good: #5dd07f;
  --good-ground: #12301c; --bad: #ff8f86; --bad-ground: #3d1a18; --warn: #f0c060; --warn-ground: #3a2d0c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.25rem 3rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 46rem; } .quiet, figcaption, caption { color: var(--quiet); }
.verdict { display: flex; gap: 1rem; align-items: center; margin: 1rem 0; padding: 1rem 1.25rem; border-radius: .6rem;
  border: 1px solid; border-left-width: .5rem; }
.verdict .sign { font-size: 2.4rem; line-height: 1; } .verdict strong { font-size: 1.35rem; display: block; }
.verdict p { margin: .15rem 0 0; color: var(--text); }
.good { color: var(--good); background: var(--good-ground); border-color: var(--good); }
.bad { color: var(--bad); background: var(--bad-ground); border-color: var(--bad); }
.warn { color: var(--warn); background: var(--warn-ground); border-color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem; margin: 0; }
.tiles div { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .55rem .8rem; }
.tiles dt { color: var(--quiet); font-size: .85rem; } .tiles dd { margin: 0; font-size: 1.35rem; }
.tiles small { display: block; color: var(--quiet); font-size: .8rem; }
figure { margin: .5rem 0; } figure svg { width: 100%; height: auto; display: block; }
figcaption, caption { font-size: .88rem; text-align: left; } caption { padding: 0 0 .3rem; }
svg text { font-size: 12px; fill: var(--quiet); } svg .axis { text-anchor: end; } .tick { text-anchor: middle; } .grid { stroke: var(--line); }
.column { fill: var(--mark); } .rest { fill: var(--line); } .area { fill: var(--area); }
.line { fill: none; stroke: var(--mark); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.bar { width: 6rem; height: .6rem; } .spark { width: 9rem; height: 2rem; display: block; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-weight: 600; font-size: .85rem; white-space: nowrap; }
tbody th { font-weight: 600; } .n { text-align: right; white-space: nowrap; }
td, bdi, .hash { overflow-wrap: anywhere; } .n, .keep, code { overflow-wrap: normal; white-space: nowrap; }
code { font: .85em/1.4 ui-monospace, "DejaVu Sans Mono", monospace; } .hash { white-space: normal; }
  .tag { border: 1px solid; border-radius: .3rem;
  padding: 0 .35rem; font-size: .82rem; white-space: nowrap; }
summary { cursor: pointer; color: var(--quiet); } footer { margin-top: 2.5rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) { body { padding: 1rem .8rem; font-size: 14px; } .verdict { padding: .8rem; }
  svg text { font-size: 20px; } .minor { display: none; } .scroll table { min-width: 36rem; }
  caption { max-width: 90vw; } }
@media print { :root { color-scheme: light; --ground: #fff; --text: #000; --quiet: #444; --line: #bbb; --panel: #fff;
  --mark: #2f6f9f; --area: #c9dfee; --good: #14602a; --good-ground: #fff; --bad: #8f1d16; --bad-ground: #fff;
  --warn: #6b4600; --warn-ground: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; } thead { display: table-header-group; }
  .verdict, .tiles div, figure, tr { break-inside: avoid; } .scroll { overflow: visible; } thead th { white-space: normal; }
  svg * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .screen { display: none; }
  @page { margin: 16mm 14mm; @bottom-right { content: counter(page) " / " counter(pages); } } }
`;
