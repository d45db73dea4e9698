// The block layout of one layer in a window of its own, to zoom in with the mouse, the keyboard or buttons.

import { useEffect, useRef, useState } from "preact/hooks";
import { counted, percent } from "../format.js";
import { html, Problem } from "../html.js";
import { blocksOf } from "./layer-data.js";
import { colorRange, drawLayout } from "./layout-canvas.js";
import { blocksAt, heat, moved, WHOLE, zoomed } from "./layout-raster.js";

/** @typedef {import("./layout-raster.js").Blocks} Blocks @typedef {import("./layout-raster.js").View} View */

/** One step of a zoom, and one step of a move as a share of the picture. */
const [STEP, MOVE] = [0.5, 0.2];

/**
 * @param {object} properties
 * @param {string} properties.model
 * @param {readonly import("./layer-data.js").Layer[]} properties.layers those with blocks, to go from one to the next
 * @param {readonly string[]} properties.palette
 * @param {string} properties.name of the layer that is shown
 * @param {(name: string) => void} properties.onName
 * @param {() => void} properties.onClose
 */
export function LayoutView({ model, layers, palette, name, onName, onClose }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [blocks, setBlocks] = useState(/** @type {Blocks | undefined} */ (undefined));
  const [problem, setProblem] = useState("");
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    let isGone = false;
    setBlocks(undefined);
    setProblem("");
    blocksOf(model, name).then(
      (found) => !isGone && setBlocks(found),
      (error) => !isGone && setProblem(error.message),
    );
    return () => {
      isGone = true;
    };
  }, [model, name]);
  const at = layers.findIndex((layer) => layer.name === name);
  const goTo = (/** @type {number} */ next) => {
    const layer = layers[next];
    if (layer) onName(layer.name);
  };
  return html`<dialog ref=${dialog} aria-labelledby="layout-name" onClose=${onClose}>
    <header><h3 id="layout-name">${name}</h3>
      <button type="button" disabled=${at <= 0} onClick=${() => goTo(at - 1)}>Previous layer</button>
      <button type="button" disabled=${at >= layers.length - 1} onClick=${() => goTo(at + 1)}>Next layer</button>
      <button type="button" onClick=${() => dialog.current?.close()}>Close</button>
    </header>
    ${problem !== "" && html`<${Problem} message=${problem} />`}
    ${blocks && html`<${Zoomable} key=${name} blocks=${blocks} palette=${palette} share=${layers[at]?.share ?? 1} />`}
  </dialog>`;
}

/** @param {{ blocks: Blocks, palette: readonly string[], share: number }} properties */
function Zoomable({ blocks, palette, share }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [view, setView] = useState(WHOLE);
  const [pointed, setPointed] = useState("");
  useEffect(() => {
    if (canvas.current) fitAndDraw(canvas.current, blocks, { palette, view });
  }, [blocks, palette, view]);
  const zoom = (/** @type {number} */ factor, /** @type {{ x: number, y: number } | undefined} */ at = undefined) =>
    setView((before) => zoomed(before, { factor, blocks, ...(at && { at }) }));
  const move = (/** @type {number} */ x, /** @type {number} */ y) => setView((before) => moved(before, { x, y }));
  useEffect(() => pointing(canvas.current, { zoom, move }), [blocks]);
  const point = (/** @type {any} */ event) => {
    const at = shareAt(event.currentTarget, event);
    const entry = (/** @type {number} */ n, /** @type {number} */ share) => Math.min(n - 1, Math.floor(n * share));
    const column = entry(blocks.n_in, view.x + at.x * view.size);
    const row = entry(blocks.n_out, view.y + at.y * view.size);
    setPointed(`in ${column}, out ${row}: ${counted(blocksAt(blocks, column, row), "block")}`);
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    setView((before) => action(before, blocks));
  };
  return html`<div class="zoomable">
    <div class="buttons">
      <button type="button" aria-label="Zoom in" onClick=${() => zoom(STEP)}>+</button>
      <button type="button" aria-label="Zoom out" onClick=${() => zoom(1 / STEP)}>−</button>
      <button type="button" onClick=${() => setView(WHOLE)}>Whole matrix</button>
      <span class="soft" role="status">${partText(view, blocks)}</span>
    </div>
    <canvas ref=${canvas} tabindex="0" role="application" aria-roledescription="block layout"
      aria-label=${`${counted(blocks.start_in.length, "live block")}, ${percent(share)} of the dense multiply-adds`}
      aria-describedby="layout-help" onKeyDown=${keys} onPointerMove=${point} onPointerLeave=${() => setPointed("")}></canvas>
    <${Scale} palette=${palette} range=${colorRange(blocks)} />
    <p class="soft pointed">${pointed || "input from left to right, output from top to bottom"}</p>
    <p id="layout-help" class="soft">Plus and minus zoom, arrows move, 0 shows the whole matrix. With the mouse: wheel and drag.</p>
  </div>`;
}

/** @type {Record<string, (view: View, blocks: Blocks) => View>} */
const KEYS = {
  "+": (view, blocks) => zoomed(view, { factor: STEP, blocks }),
  "=": (view, blocks) => zoomed(view, { factor: STEP, blocks }),
  "-": (view, blocks) => zoomed(view, { factor: 1 / STEP, blocks }),
  0: () => WHOLE,
  ArrowLeft: (view) => moved(view, { x: -MOVE, y: 0 }),
  ArrowRight: (view) => moved(view, { x: MOVE, y: 0 }),
  ArrowUp: (view) => moved(view, { x: 0, y: -MOVE }),
  ArrowDown: (view) => moved(view, { x: 0, y: MOVE }),
};

/** @param {View} view @param {Blocks} blocks */
function partText({ x, y, size }, { n_in: nIn, n_out: nOut }) {
  const span = (/** @type {number} */ from, /** @type {number} */ n) =>
    `${Math.floor(from * n)} to ${Math.ceil((from + size) * n)} of ${n}`;
  return `in ${span(x, nIn)}, out ${span(y, nOut)}`;
}

/** The colors for numbers of blocks. @param {{ palette: readonly string[], range: { least: number, most: number } }} properties */
function Scale({ palette, range }) {
  const [least, most] = [Math.max(1, Math.floor(range.least)), Math.max(1, Math.round(range.most))];
  const counts = [...new Set([0, 0.25, 0.5, 1].map((share) => Math.round(least + share * (most - least))))];
  return html`<p class="scale soft">blocks on an entry:
    ${[...(range.least > 0 ? [] : [0]), ...counts].map((count) => {
      const color = palette[Math.round(heat(count, range) * (palette.length - 1))];
      return html`<span key=${count}><span class="swatch" style=${{ background: color }}></span>${count}</span>`;
    })}</p>`;
}

/** Gives the canvas a pixel for each of the screen, and draws. @type {typeof drawLayout} */
function fitAndDraw(canvas, blocks, options) {
  const side = Math.min(1024, Math.round(canvas.clientWidth * devicePixelRatio));
  if (canvas.width !== side) [canvas.width, canvas.height] = [side, side];
  drawLayout(canvas, blocks, options);
}

/** @param {Element} element @param {MouseEvent} event @returns {{ x: number, y: number }} shares of the element */
function shareAt(element, { clientX, clientY }) {
  const { left, top, width, height } = element.getBoundingClientRect();
  return { x: (clientX - left) / width, y: (clientY - top) / height };
}

/**
 * Zooms with the wheel and moves by dragging.
 * @param {HTMLCanvasElement | null} canvas
 * @param {{ zoom: (factor: number, at: { x: number, y: number }) => void, move: (x: number, y: number) => void }} actions
 * @returns {() => void} ends it
 */
function pointing(canvas, { zoom, move }) {
  const ended = new AbortController();
  const { signal } = ended;
  // The page must not scroll meanwhile, so the listener is not a passive one.
  const wheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    zoom(2 ** (event.deltaY / 300), shareAt(/** @type {Element} */ (event.currentTarget), event));
  };
  canvas?.addEventListener("wheel", wheel, { signal, passive: false });
  canvas?.addEventListener("dblclick", (event) => zoom(STEP, shareAt(canvas, event)), { signal });
  canvas?.addEventListener("pointerdown", ({ pointerId }) => canvas.setPointerCapture(pointerId), { signal });
  canvas?.addEventListener(
    "pointermove",
    ({ buttons, movementX, movementY }) => {
      if (buttons & 1) move(-movementX / canvas.clientWidth, -movementY / canvas.clientHeight);
    },
    { signal },
  );
  return () => ended.abort();
}
