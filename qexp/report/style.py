"""How the HTML report looks: light and dark, with the first colours of its plots, from a phone to a wide screen."""

STYLE = """
:root { color-scheme: light dark; --ink: var(--plot-0); --muted: var(--plot-1); --line: var(--plot-2);
  --page: #ffffff; --card: #f4f6fa; --accent: #0b5cad; --good: #00704f; --bad: #b03a00; --mark: #e6f0fb; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14171e; --card: #1e232d; --accent: #7cc0ff; --good: #3fd6a4; --bad: #ff9a5c; --mark: #1d3350; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  "Liberation Sans", sans-serif; overflow-wrap: break-word; }
main { max-width: 54rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.1rem; font-weight: 500; color: var(--muted); margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
.verdict { font-size: clamp(1.5rem, 5vw, 2.2rem); line-height: 1.2; font-weight: 700; margin: 0 0 1.2rem; }
.question { font-size: 1.1rem; font-weight: 600; color: var(--muted); margin: 0 0 .25rem; } a { color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { background: var(--card); border-radius: .6rem; padding: .75rem .9rem; display: flex; flex-direction: column; }
.tile span { color: var(--muted); font-size: .82rem; }
.tile b { font-size: 1.15rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile small { color: var(--muted); font-size: .78rem; line-height: 1.35; margin-top: .2rem; }
ul { padding-left: 1.2rem; margin: .6rem 0; } li { margin: .35rem 0; }
.ticks { list-style: none; padding: 0; } .ticks li { padding-left: 1.7rem; position: relative; }
.ticks span { position: absolute; left: 0; font-weight: 700; }
.met span { color: var(--good); } .missed span { color: var(--bad); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; }
tr.marked td { background: var(--mark); font-weight: 600; }
figure { margin: 1.4rem 0; } figure svg { display: block; width: 100%; height: auto; } .glyphs { position: absolute; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; } .phone { display: none; }
@media (max-width: 620px) { .wide { display: none; } .phone { display: block; } }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--card); padding: .9rem 1rem; border-radius: .6rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem; }
@media (min-width: 60rem) {  /* wide tables may be wider than the text, before they are scrolled */
  .scroll { width: max-content; min-width: 100%; max-width: min(76rem, 100vw - 2.5rem); position: relative; left: 50%;
    transform: translateX(-50%); }
}
hr { border: 0; border-top: 3px solid var(--line); margin: 4rem 0; }
@media print {
  details::details-content { content-visibility: visible; display: block; }
  .scroll { overflow: visible; } table { font-size: 7pt; } .number { white-space: normal; }
  th, td { padding-right: .3rem; }
  tr, figure, .tile, pre { break-inside: avoid; } h2 { break-after: avoid; }
}
"""
