"""How the report's page looks."""

from __future__ import annotations

STYLE = """
:root { --mark: #d8493b; }
h1 { margin-bottom: .5rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h2 small { font-weight: normal; opacity: .65; font-size: .7em; }
code { font-size: .9em; white-space: nowrap; }
a { color: var(--accent); }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.tile { background: var(--soft); border-radius: 8px; padding: .6rem 1rem; min-width: 9rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.2; }
.tile span { opacity: .75; font-size: 13px; }
.settings { list-style: none; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: .25rem .5rem; }
.settings li { background: var(--soft); border-radius: 4px; padding: 0 .5rem; font-size: 13px;
  overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; font-size: 13px; opacity: .7; }
td:nth-child(2), td:nth-child(3), th:nth-child(2), th:nth-child(3) { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
table.numbers { width: auto; }
table.numbers :is(td, th):not(:first-child) { text-align: right; padding-left: 1.5rem; }
td.bar { width: 18%; padding-top: .55rem; }
td.bar i { display: block; height: .6rem; min-width: 2px; border-radius: 3px; background: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.25rem; }
.charts figure { margin: 0; }
.charts figcaption { font-weight: 600; font-size: 13px; margin-bottom: .25rem; }
.charts svg { width: 100%; height: auto; display: block; }
svg rect { fill: var(--accent); }
svg text { fill: currentColor; font: 11px system-ui, sans-serif; opacity: .75; }
svg .axis { stroke: currentColor; opacity: .35; }
svg .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
svg text.mark { stroke: none; fill: var(--mark); opacity: 1; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem; }
.gallery figure { margin: 0; min-width: 0; }
.pair { display: flex; gap: 2px; height: 9rem; background: var(--soft); border-radius: 6px;
  overflow: hidden; }
.pair img, .none { flex: 1; min-width: 0; width: 100%; height: 100%; object-fit: contain; }
.none { display: grid; place-items: center; font-size: 12px; opacity: .6; }
.gallery figcaption { font-size: 12.5px; overflow-wrap: anywhere; margin-top: .3rem; }
.gallery figcaption b { font-weight: 500; opacity: .6; }
.gallery em { color: var(--mark); font-style: normal; }
@media (max-width: 50rem) {
  td.bar, table:not(.numbers) th:nth-child(4) { display: none; }
  td, th { padding-right: .5rem; }
  code { white-space: normal; }
}
/* On a phone what a reason means stands below it, not beside it a word to a line. */
@media (max-width: 40rem) {
  table:not(.numbers) :is(thead, td:empty) { display: none; }
  table:not(.numbers) tr { display: grid; grid-template-columns: 1fr auto auto; padding: .35rem 0;
    border-bottom: 1px solid var(--line); }
  table:not(.numbers) :is(tbody, td) { display: block; border: 0; padding-block: 0; }
  table:not(.numbers) td.bar { display: none; }
  table:not(.numbers) td:nth-child(n + 5) { grid-column: 1 / -1; }
}
"""
