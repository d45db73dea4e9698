// The layers of a model: a picture of the blocks of each, which opens in a larger view, and a table.

import { useEffect, useRef, useState } from "preact/hooks";
import { counted, percent } from "../format.js";
import { Hidden, html, Problem, Select } from "../html.js";
import { blocksOf, layersOf } from "./layer-data.js";
import { drawLayout } from "./layout-canvas.js";
import { LayoutView } from "./layout-view.js";

/** @typedef {import("./layer-data.js").Layer} Layer @typedef {import("./layer-data.js").ModelLayers} ModelLayers */

/** Pixels a side of a small picture. */
const SMALL = 160;

/** @param {{ models: readonly string[] }} properties */
export function Layers({ models }) {
  const [model, setModel] = useState(/** @type {string | undefined} */ (undefined));
  const [found, setFound] = useState(/** @type {ModelLayers | undefined} */ (undefined));
  const [problem, setProblem] = useState("");
  const [opened, setOpened] = useState(/** @type {string | undefined} */ (undefined));
  useEffect(() => {
    const gone = new AbortController();
    setFound(undefined);
    setProblem("");
    const reading = model === undefined ? firstWithBlocks(models, gone.signal) : layersOf(model, gone.signal);
    reading.then(setFound, (error) => {
      if (!gone.signal.aborted) setProblem(error.message);
    });
    return () => gone.abort();
  }, [model]);
  const drawn = found ? drawable(found) : [];
  return html`<section aria-labelledby="layers"><h2 id="layers">Block layouts</h2>
    ${
      models.length > 1 &&
      html`<${Select} id="layers-model" label="Model" value=${model ?? found?.model} options=${models} onValue=${setModel} />`
    }
    ${problem !== "" && html`<${Problem} message=${problem} />`}
    ${found && html`<p class="soft" role="status">${summaryOf(found)}</p>`}
    ${
      found &&
      drawn.length > 0 &&
      html`<ul class="layouts">${drawn.map(
        (layer) => html`<li key=${layer.name}>
      <${Thumbnail} model=${found.model} layer=${layer} palette=${found.palette} onOpen=${() => setOpened(layer.name)} /></li>`,
      )}</ul>`
    }
    ${found && html`<details><summary>All layers as a table</summary><${LayerTable} layers=${found.layers} /></details>`}
    ${
      found &&
      opened !== undefined &&
      html`<${LayoutView} model=${found.model} layers=${drawn} palette=${found.palette}
      name=${opened} onName=${setOpened} onClose=${() => setOpened(undefined)} />`
    }
  </section>`;
}

/** Those of a model whose blocks can be drawn, if there is one. @param {readonly string[]} models @param {AbortSignal} signal */
async function firstWithBlocks(models, signal) {
  const [first = "", ...others] = models;
  const found = await layersOf(first, signal);
  for (let next = found; ; next = await layersOf(others.shift() ?? "", signal)) {
    if (drawable(next).length > 0) return next;
    if (others.length === 0) return found;
  }
}

/** @param {ModelLayers} found */
const drawable = ({ layers }) => layers.filter(({ live_blocks: live }) => live !== null);

/** @param {ModelLayers} found */
function summaryOf(found) {
  const { layers, share } = found;
  const count = drawable(found).length;
  const blocks = count === 0 ? "none of them has blocks" : `${count} of them with blocks, brighter where more overlap`;
  return `${counted(layers.length, "layer")}, ${blocks}; ${percent(share)} of the multiply-adds of dense layers`;
}

/**
 * A small picture, drawn when it comes into view.
 * @param {{ model: string, layer: Layer, palette: readonly string[], onOpen: () => void }} properties
 */
function Thumbnail({ model, layer, palette, onOpen }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const { current } = canvas;
    if (!current) return undefined;
    const draw = () =>
      blocksOf(model, layer.name).then(
        (blocks) => {
          drawLayout(current, blocks, { palette });
          current.dataset.drawn = "";
        },
        (error) => setProblem(error.message),
      );
    const seen = (/** @type {IntersectionObserverEntry[]} */ entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      observer.disconnect();
      draw();
    };
    const observer = new IntersectionObserver(seen, { rootMargin: "300px" });
    observer.observe(current);
    return () => observer.disconnect();
  }, [model, layer.name, palette]);
  return html`<button type="button" class="layout" onClick=${onOpen}>
    <canvas ref=${canvas} width=${SMALL} height=${SMALL} aria-hidden="true"></canvas>
    <${Hidden}>Zoom into </${Hidden}><span class="name">${layer.name}</span>
    <span class="soft">${percent(layer.share)}<${Hidden}> of dense, ${counted(layer.live_blocks ?? 0, "live block")}</${Hidden}></span>
    ${problem !== "" && html`<span class="problem">${problem}</span>`}
  </button>`;
}

/** @param {{ layers: readonly Layer[] }} properties */
const LayerTable = ({ layers }) => html`<div class="scroll" tabindex="0" role="region" aria-label="Layers"><table>
  <thead><tr><th scope="col">layer</th><th scope="col">structure</th><th scope="col" class="number">in × out</th>
    <th scope="col" class="number">share of dense</th><th scope="col" class="number">live blocks</th></tr></thead>
  <tbody>${layers.map(
    ({ name, structure, n_in, n_out, share, live_blocks: live, all_blocks: all }) => html`<tr key=${name}>
      <th scope="row">${name}</th><td>${structure}</td><td class="number">${n_in} × ${n_out}</td>
      <td class="number">${percent(share)}</td><td class="number">${live === null ? "" : `${live} of ${all}`}</td></tr>`,
  )}</tbody>
</table></div>`;
