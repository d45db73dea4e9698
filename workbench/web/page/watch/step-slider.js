// A slider over the steps at which runs have written something. It stays at the latest one while runs go on, until another
// one is chosen.

import { useState } from "preact/hooks";
import { html } from "../html.js";

/**
 * The steps of all runs, and the one that is chosen.
 * @param {readonly (readonly { step: number }[])[]} runs what each run has, in the order of steps
 */
export function useStep(runs) {
  const steps = [...new Set(runs.flatMap((all) => all.map(({ step }) => step)))].sort((a, b) => a - b);
  const [chosen, choose] = useState(/** @type {number | undefined} */ (undefined));
  return { steps, step: chosen ?? steps.at(-1) ?? 0, choose };
}

/** @param {{ id: string } & ReturnType<typeof useStep>} properties */
export function StepSlider({ id, steps, step, choose }) {
  const last = steps.length - 1;
  const pick = (/** @type {any} */ event) => {
    const at = Number(event.target.value);
    choose(at >= last ? undefined : steps[at]);
  };
  return html`<label class="field wide" for=${id}>Step
    <input id=${id} type="range" min="0" max=${last} value=${steps.indexOf(step)} aria-valuetext=${`step ${step}`} onInput=${pick} /></label>`;
}
