// The style sheet of a report: one column of sections, with two charts side by side if the window is wide enough.
// Colors are light or dark according to the reader's system, and white in print. It loads no fonts and no files.

import { toneVariables } from "../pictures/colors.ts";
import { FONT_FAMILY } from "../pictures/svg.ts";

/** The colors of pages as CSS variables, light or dark as the reader's system is. */
export const COLOR_VARIABLES = `
:root{color-scheme:light dark;${toneVariables("light")};--page:#f6f6f9;--good:#e7f4ec;--good-ink:#11633a;--bad:#fdeaea;--bad-ink:#a31616;--busy:#eceafb}
@media (prefers-color-scheme:dark){:root{${toneVariables("dark")};--page:#121217;--good:#163524;--good-ink:#8fe0b0;--bad:#421919;--bad-ink:#ffa9a9;--busy:#2a2650}}
`.trim();

export const STYLE = `
${COLOR_VARIABLES}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 ${FONT_FAMILY},"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:18px;margin:40px 0 12px}
h3{font-size:14px;margin:0 0 6px}
p{margin:0 0 10px;overflow-wrap:anywhere}
.soft{color:var(--soft)}
.scroll+.soft{margin-top:8px;font-size:13px}
.lead{font-size:17px;max-width:46em}
.status{display:inline-block;border-radius:999px;padding:2px 12px;font-size:13px;font-weight:600;background:var(--busy);color:var(--series1)}
.status.finished{background:var(--good);color:var(--good-ink)}
.status.failed,.status.interrupted{background:var(--bad);color:var(--bad-ink)}
.problem{background:var(--bad);color:var(--bad-ink);border-radius:8px;padding:8px 12px}
pre{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:10px 14px;margin:0 0 12px;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.word{display:inline-block;max-width:100%}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px;align-items:start}
figure{margin:0;background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:12px 14px 8px;min-width:0}
figure svg,figure img{display:block;width:100%;height:auto}
figure .mark-rect path{shape-rendering:crispEdges}
figure.own{max-width:max-content}
figure.picture{background:#fff;overflow-x:auto}
figure.picture svg,figure.picture img{min-width:560px}
figcaption{font-size:14px;font-weight:600;margin:0 0 6px}
.scroll{overflow-x:auto;background:var(--paper);border:1px solid var(--line);border-radius:10px}
.scroll:focus-visible{outline:2px solid var(--series1)}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:7px 12px;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-weight:400;font-size:13px;vertical-align:bottom}
tbody th{font-weight:600}
td.number,th.number{text-align:right;white-space:nowrap}
.best{color:var(--good-ink);background:var(--good);border-radius:5px;padding:1px 5px;margin-right:-5px}
table.facts th{width:34%;min-width:9em;font-weight:400;color:var(--soft)}
table.facts td{overflow-wrap:anywhere}
table.dense th,table.dense td{padding:3px 12px;font-size:13px}
details{margin-top:12px}
summary{cursor:pointer;font-weight:600}
footer{margin-top:48px;color:var(--soft);font-size:13px}
@media (max-width:560px){main{padding:20px 12px 40px}th,td{padding:6px 8px}h1{font-size:22px}.lead{font-size:16px}figure{padding:10px 8px 6px}}
@media print{:root{${toneVariables("light")};--page:#fff}body{font-size:11pt}main{max-width:none;padding:0}section,figure,tr{break-inside:avoid}.charts{grid-template-columns:1fr 1fr}.scroll{overflow:visible}}
`.trim();
