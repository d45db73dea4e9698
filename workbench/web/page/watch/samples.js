// The texts that models have written during training: one of each run that is shown, at one step.

import { html } from "../html.js";
import { Swatch } from "./chart.js";
import { StepSlider, useStep } from "./step-slider.js";

/**
 * @typedef {import("./run-store.js").Sample} Sample
 * @typedef {{ name: string, color: number, samples: readonly Sample[] }} SampleRun
 */

/** @param {{ runs: readonly SampleRun[] }} properties those with samples */
export function Samples({ runs }) {
  const slider = useStep(runs.map(({ samples }) => samples));
  const shown = runs.flatMap(({ samples, ...run }) => {
    const last = samples.findLast((each) => each.step <= slider.step)?.step;
    return samples.filter((each) => each.step === last).map((sample) => ({ ...run, ...sample }));
  });
  return html`<section aria-labelledby="samples"><h2 id="samples">Samples</h2>
    ${slider.steps.length > 1 && html`<${StepSlider} id="samples-step" ...${slider} />`}
    ${shown.map(
      (sample) => html`<figure class="card sample" key=${`${sample.name} ${sample.prompt}`}>
      <figcaption><${Swatch} line=${{ ...sample, isDashed: false }} /> ${sample.name} <span class="soft">step ${sample.step}</span></figcaption>
      <p class="text"><span class="soft">${sample.prompt}</span>${sample.text}</p></figure>`,
    )}
  </section>`;
}
