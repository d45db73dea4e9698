// The mean widths of the live blocks by layer, of several runs at one step: a point for each run and side.

import { percent } from "../format.js";
import { html } from "../html.js";
import { Swatch } from "./chart.js";
import { ticks } from "./curves.js";
import { StepSlider, useStep } from "./step-slider.js";

/**
 * @typedef {import("./run-store.js").Structure} Structure
 * @typedef {{ name: string, color: number, structures: readonly Structure[] }} WidthRun
 */

const ROW = 20;
const WIDTH = 520;
const MARGIN = { left: 190, right: 20, top: 6, bottom: 26 };
/** characters of a layer's name that fit before the points */
const NAME_LENGTH = 28;

/** @param {{ runs: readonly WidthRun[] }} properties those with widths */
export function Widths({ runs }) {
  const slider = useStep(runs.map(({ structures }) => structures));
  const { step } = slider;
  const shown = runs.flatMap(({ structures, ...run }) => {
    const found = structures.findLast((each) => each.step <= step);
    return found ? [{ ...run, ...found }] : [];
  });
  const names = [...new Set(shown.flatMap(({ layers }) => Object.keys(layers)))];
  const widths = shown.flatMap(({ layers }) =>
    Object.values(layers).flatMap((layer) => [layer.meanWidthIn, layer.meanWidthOut]),
  );
  const most = Math.min(1, Math.max(0.01, ...widths) * 1.05);
  const x = (/** @type {number} */ width) => MARGIN.left + ((WIDTH - MARGIN.left - MARGIN.right) * width) / most;
  const bottom = MARGIN.top + ROW * names.length;
  return html`<figure class="card chart">
    <figcaption>Mean width by layer <span class="soft">share of the side, step ${step}</span></figcaption>
    ${slider.steps.length > 1 && html`<${StepSlider} id="widths-step" ...${slider} />`}
    <p class="values">${shown.map((run) => html`<span key=${run.name}><${Swatch} line=${{ ...run, isDashed: false }} /> ${run.name}</span>`)}
      <span class="soft">○ input side ● output side</span></p>
    <div class="scroll" tabindex="0" role="region" aria-label="Mean width by layer">
      <svg width=${WIDTH} height=${bottom + MARGIN.bottom} role="img" aria-label=${summaryOf(shown)}>
        <g class="axes">${ticks(0, most, 5).map(
          (width) => html`<g key=${width}><line x1=${x(width)} x2=${x(width)} y1=${MARGIN.top} y2=${bottom} />
          <text x=${x(width)} y=${bottom + 18} text-anchor="middle">${percent(width, 0)}</text></g>`,
        )}</g>
        ${names.map(
          (name, row) => html`<g key=${name}>
          <text class="layer" x=${MARGIN.left - 10} y=${MARGIN.top + ROW * row + 14} text-anchor="end">${shortened(name)}<title>${name}</title></text>
          ${shown.map(({ name: run, color, layers }) => {
            const layer = layers[name];
            return (
              layer &&
              html`<${Points} key=${run} color=${color} from=${x(layer.meanWidthIn)} to=${x(layer.meanWidthOut)} y=${MARGIN.top + ROW * (row + 0.5)} />`
            );
          })}
        </g>`,
        )}
      </svg>
    </div>
  </figure>`;
}

/** Both sides of a layer, joined by a line. @param {{ color: number, from: number, to: number, y: number }} properties */
const Points = ({ color, from, to, y }) => html`<g class="points">
  <line class=${`curve series-${color} faint`} x1=${from} x2=${to} y1=${y} y2=${y} />
  <circle class=${`series-${color} hollow`} cx=${from} cy=${y} r="4" />
  <circle class=${`series-${color}`} cx=${to} cy=${y} r="4" /></g>`;

/** @param {string} name */
const shortened = (name) => (name.length <= NAME_LENGTH ? name : `…${name.slice(1 - NAME_LENGTH)}`);

/** @param {readonly { name: string, layers: Structure["layers"] }[]} shown */
const summaryOf = (shown) =>
  shown
    .map(({ name, layers }) => {
      const all = Object.values(layers);
      const mean = (/** @type {"meanWidthIn" | "meanWidthOut"} */ side) =>
        all.reduce((sum, layer) => sum + layer[side], 0) / all.length;
      return `${name}: ${all.length} layers, on average ${percent(mean("meanWidthIn"))} of the input side and ${percent(mean("meanWidthOut"))} of the output side`;
    })
    .join("; ");
