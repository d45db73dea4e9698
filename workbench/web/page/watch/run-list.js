// The runs with their colors and states, each of which can be hidden.

import { useEffect, useState } from "preact/hooks";
import { duration } from "../format.js";
import { Check, html } from "../html.js";
import { Swatch } from "./chart.js";
import { lastStep } from "./run-store.js";

/** Number of series colors of the page. */
const COLORS = 10;

/** Number of the color of a run, from 1. @param {number} index of the run */
export const colorOf = (index) => 1 + (index % COLORS);

/** @typedef {import("./run-store.js").Run} Run */

/** @param {{ runs: readonly Run[], hidden: readonly string[], onToggle: (label: string) => void }} properties */
export function RunList({ runs, hidden, onToggle }) {
  const now = useClock();
  return html`<section aria-labelledby="runs"><h2 id="runs">Runs</h2>
    <ul class="runs">${runs.map(
      (run, i) => html`<li key=${run.label} class="card">
      <${Check} checked=${!hidden.includes(run.label)} onChange=${() => onToggle(run.label)}
        label=${html`<span><${Swatch} line=${{ color: colorOf(i), isDashed: false }} /> <strong>${run.label}</strong></span>`} />
      <${State} run=${run} />
      <span class="soft">${factsOf(run, now)}</span>
      ${[run.state.error, run.state.problem].map((text) => text !== undefined && html`<p key=${text} class="problem">${text}</p>`)}
    </li>`,
    )}</ul>
  </section>`;
}

/** @param {{ run: Run }} properties */
function State({ run: { state } }) {
  const text = state.exists ? (state.status ?? "no run.json") : "not there yet";
  return html`<span class=${`status ${state.status ?? ""}`} role="status">${text}</span>`;
}

/** @param {Run} run @param {number} now milliseconds since 1970 */
function factsOf(run, now) {
  const { state, written, restarts } = run;
  const step = lastStep(run);
  return [
    ...(state.name !== undefined ? [state.name] : []),
    ...(step > 0 ? [`step ${step}${state.steps === undefined ? "" : ` of ${state.steps}`}`] : []),
    ...(written !== undefined ? [`written ${duration(Math.max(0, (now - written) / 1000))} ago`] : []),
    ...(restarts > 0 ? ["read again, as it was resumed or started anew"] : []),
  ].join(" · ");
}

/** The time, every some seconds, milliseconds since 1970. */
function useClock() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
