// A chart of one quantity of several runs: SVG in the colors of the page. All charts show the same part of the x axis;
// dragging over one of them, or its keys, change that part. A line below it has the values at the cursor.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { number, shortPercent } from "../format.js";
import { html } from "../html.js";
import { labelsOf, logTicks, nearest, smoothed, thinned, ticks, visible } from "./curves.js";

/**
 * @typedef {import("./curves.js").Point} Point
 * @typedef {object} Line
 * @property {string} name of the run, with the split of an evaluation
 * @property {number} color number of the series color, from 1
 * @property {boolean} isDashed
 * @property {readonly Point[]} points
 * @property {readonly Point[] | undefined} mean a running mean, beside which the points are faint
 */

const HEIGHT = 210;
const MARGIN = { left: 62, right: 22, top: 10, bottom: 24 };

/** A line with its running mean, if it is noisy. @param {Omit<Line, "mean">} line @param {boolean} isNoisy @returns {Line} */
export const lineOf = (line, isNoisy) => ({ ...line, mean: isNoisy ? smoothed(line.points) : undefined });

/**
 * @param {object} properties
 * @param {string} properties.id
 * @param {string} properties.title
 * @param {string} properties.axis unit of the values
 * @param {boolean} properties.isShare whether values are written in percent
 * @param {boolean} properties.isLog whether the y axis is logarithmic, if all values are above 0
 * @param {string} properties.xName
 * @param {readonly Line[]} properties.lines
 * @param {readonly [number, number]} properties.range visible part of the x axis
 * @param {number | undefined} properties.cursor place on the x axis
 * @param {(x: number | undefined) => void} properties.onCursor
 * @param {(change: import("./view.js").ViewChange) => void} properties.onView
 */
export function Chart({ id, title, axis, isShare, isLog, xName, lines, range, cursor, onCursor, onView }) {
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  const width = useWidth(frame);
  const [dragged, setDragged] = useState(/** @type {number | undefined} */ (undefined));
  const format = isShare ? shortPercent : number;
  // A cursor moves often, and changes neither axes nor curves.
  const [from, to] = range;
  const scale = useMemo(() => scaleOf(lines, { range: [from, to], width, isLog }), [lines, from, to, width, isLog]);
  const drawn = useMemo(() => html`<${Drawn} ...${{ id, lines, scale, isShare, xName }} />`, [lines, scale, xName]);
  const summary = useMemo(() => summaryOf(lines, format), [lines, isShare]);
  const xAt = (/** @type {any} */ event) => scale.xOf(event.clientX - event.currentTarget.getBoundingClientRect().left);
  const release = (/** @type {any} */ event) => {
    const to = xAt(event);
    if (dragged !== undefined && Math.abs(scale.x(to) - scale.x(dragged)) > 8) {
      onView({ kind: "range", range: [Math.min(dragged, to), Math.max(dragged, to)] });
    }
    setDragged(undefined);
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const change = keyChange(event.key, { lines, range, cursor });
    if (!change) return;
    event.preventDefault();
    if ("cursor" in change) onCursor(change.cursor);
    else onView(change.view);
  };
  return html`<figure class="card chart">
    <figcaption id=${`${id}-title`}>${title}${axis !== "" && html` <span class="soft">${axis}</span>`}</figcaption>
    <div ref=${frame} class="frame" tabindex="0" role="application" aria-roledescription="chart" aria-labelledby=${`${id}-title`}
      aria-describedby=${`${id}-values chart-help`} onKeyDown=${keys}
      onPointerDown=${(/** @type {any} */ event) => event.button === 0 && setDragged(xAt(event))} onPointerUp=${release}
      onPointerMove=${(/** @type {any} */ event) => onCursor(xAt(event))}
      onPointerLeave=${() => [onCursor(undefined), setDragged(undefined)]} onDblClick=${() => onView({ kind: "whole" })}>
      <svg width=${width} height=${HEIGHT} role="img" aria-label=${summary}>
        ${drawn}
        ${cursor !== undefined && html`<line class="cursor" x1=${scale.x(cursor)} x2=${scale.x(cursor)} y1=${MARGIN.top} y2=${HEIGHT - MARGIN.bottom} />`}
        ${
          dragged !== undefined &&
          cursor !== undefined &&
          html`<rect class="dragged" x=${Math.min(scale.x(dragged), scale.x(cursor))}
          y=${MARGIN.top} width=${Math.abs(scale.x(cursor) - scale.x(dragged))} height=${HEIGHT - MARGIN.top - MARGIN.bottom} />`
        }
      </svg>
    </div>
    <${Values} id=${`${id}-values`} lines=${lines} cursor=${cursor} format=${format} xName=${xName} />
  </figure>`;
}

/** Axes and curves. @param {{ id: string, lines: readonly Line[], scale: Scale, isShare: boolean, xName: string }} properties */
const Drawn = ({ id, lines, scale, isShare, xName }) => html`<g>
  <${Axes} scale=${scale} isShare=${isShare} xName=${xName} />
  <g clip-path=${`url(#${id}-clip)`}>${lines.map((line) => html`<${Curve} key=${line.name} line=${line} scale=${scale} />`)}</g>
  <clipPath id=${`${id}-clip`}><rect x=${MARGIN.left} y="0" width=${scale.inner + 4} height=${HEIGHT} /></clipPath>
</g>`;

/** The values at the cursor, or the latest ones. @param {{ id: string, lines: readonly Line[], cursor: number | undefined, format: (value: number) => string, xName: string }} properties */
function Values({ id, lines, cursor, format, xName }) {
  const found = lines.flatMap((line) => {
    const point = cursor === undefined ? line.points.at(-1) : nearest(line.points, cursor);
    return point ? [{ line, point }] : [];
  });
  const steps = [...new Set(found.map(({ point }) => number(point.x)))];
  return html`<p id=${id} class="values"><span class="soft">${cursor === undefined ? "latest" : `${xName} ${steps.join(", ")}`}</span>
    ${found.map(({ line, point }) => html`<span key=${line.name}><${Swatch} line=${line} /> ${line.name} <strong>${format(point.y)}</strong></span>`)}</p>`;
}

/** @param {{ line: Pick<Line, "color" | "isDashed"> }} properties */
export const Swatch = ({ line }) => html`<svg class="swatch" width="18" height="8" aria-hidden="true">
  <line x1="0" x2="18" y1="4" y2="4" class=${`curve series-${line.color}${line.isDashed ? " dashed" : ""}`} /></svg>`;

/** @param {{ line: Line, scale: Scale }} properties */
function Curve({ line, scale }) {
  const { points, mean, color, isDashed } = line;
  const path = (/** @type {readonly Point[]} */ values) => pathOf(values, scale);
  const last = points.at(-1);
  const className = `curve series-${color}${isDashed ? " dashed" : ""}`;
  return html`<g>
    ${mean && html`<path class=${`${className} faint`} d=${path(points)} />`}
    <path class=${className} d=${path(mean ?? points)} />
    ${last && !mean && html`<circle class=${`series-${color}`} cx=${scale.x(last.x)} cy=${scale.y(last.y)} r="3" />`}
  </g>`;
}

/** @param {readonly Point[]} points @param {Scale} scale */
function pathOf(points, scale) {
  const shown = thinned(visible(points, scale.range), 2 * Math.max(100, Math.round(scale.inner)));
  return shown.map(({ x, y }, i) => `${i === 0 ? "M" : "L"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`).join("");
}

/** @param {{ scale: Scale, isShare: boolean, xName: string }} properties */
function Axes({ scale, isShare, xName }) {
  const bottom = HEIGHT - MARGIN.bottom;
  const end = MARGIN.left + scale.inner;
  const [up, across] = [scale.yTicks, ticks(...scale.range, Math.max(2, Math.floor(scale.inner / 90)))];
  const [upLabels, acrossLabels] = [labelsOf(up, isShare), labelsOf(across, false)];
  return html`<g class="axes">
    ${up.map(
      (value, i) => html`<g key=${value}><line x1=${MARGIN.left} x2=${end} y1=${scale.y(value)} y2=${scale.y(value)} />
      <text x=${MARGIN.left - 8} y=${scale.y(value) + 4} text-anchor="end">${upLabels[i]}</text></g>`,
    )}
    ${across.map((value, i) => html`<text key=${value} x=${scale.x(value)} y=${bottom + 17} text-anchor="middle">${acrossLabels[i]}</text>`)}
    <text x=${MARGIN.left - 14} y=${bottom + 17} text-anchor="end">${xName}</text>
    <line x1=${MARGIN.left} x2=${end} y1=${bottom} y2=${bottom} />
  </g>`;
}

/**
 * @typedef {object} Scale
 * @property {readonly [number, number]} range
 * @property {number} inner width between the margins, px
 * @property {readonly number[]} yTicks
 * @property {(value: number) => number} x
 * @property {(px: number) => number} xOf
 * @property {(value: number) => number} y
 */

/** @param {readonly Line[]} lines @param {{ range: readonly [number, number], width: number, isLog: boolean }} options @returns {Scale} */
function scaleOf(lines, { range, width, isLog }) {
  const inner = Math.max(10, width - MARGIN.left - MARGIN.right);
  const span = range[1] - range[0] || 1;
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { points } of lines) {
    for (const { y } of visible(points, range)) [least, most] = [Math.min(least, y), Math.max(most, y)];
  }
  if (!(least <= most)) [least, most] = [0, 1];
  const byLog = isLog && least > 0;
  // Beside the visible part there may be values that are not above 0.
  const height = (/** @type {number} */ value) => (byLog ? Math.log(Math.max(value, least / 1000)) : value);
  const room = 0.05 * (height(most) - height(least)) || 0.05 * Math.abs(height(most)) || 1;
  const [low, high] = [height(least) - room, height(most) + room];
  const inside = HEIGHT - MARGIN.top - MARGIN.bottom;
  return {
    ...{ range, inner },
    yTicks: byLog ? logTicks(Math.exp(low), Math.exp(high), 4) : ticks(low, high, 4),
    x: (value) => MARGIN.left + (inner * (value - range[0])) / span,
    xOf: (px) => Math.max(range[0], Math.min(range[0] + (span * (px - MARGIN.left)) / inner, range[1])),
    y: (value) => MARGIN.top + inside * (1 - (height(value) - low) / (high - low)),
  };
}

/**
 * What a key does: it moves the cursor to the next point, or changes the visible part.
 * @param {string} key
 * @param {{ lines: readonly Line[], range: readonly [number, number], cursor: number | undefined }} state
 * @returns {{ cursor: number | undefined } | { view: import("./view.js").ViewChange } | undefined}
 */
function keyChange(key, { lines, range, cursor }) {
  const around = cursor ?? range[1];
  const places = [...new Set(lines.flatMap(({ points }) => visible(points, range).map(({ x }) => x)))]
    .filter((x) => x >= range[0] && x <= range[1])
    .sort((a, b) => a - b);
  // A hundredth of the visible part, but at least one point.
  const stride = (range[1] - range[0]) / 100;
  if (key === "ArrowRight") return { cursor: places.find((x) => x > around && x >= around + stride) ?? places.at(-1) };
  if (key === "ArrowLeft") return { cursor: places.findLast((x) => x < around && x <= around - stride) ?? places[0] };
  if (key === "Home") return { cursor: places[0] };
  if (key === "End") return { cursor: places.at(-1) };
  if (key === "+" || key === "=") return { view: { kind: "zoom", factor: 0.5, at: around } };
  if (key === "-") return { view: { kind: "zoom", factor: 2, at: around } };
  if (key === "0") return { view: { kind: "whole" } };
  if (key === "Escape") return { cursor: undefined };
  return undefined;
}

/** Describes each line by its first and its last value. @param {readonly Line[]} lines @param {(value: number) => string} format */
const summaryOf = (lines, format) =>
  lines
    .map(({ name, points }) => {
      const [first, last] = [points[0], points.at(-1)];
      return first && last ? `${name}: from ${format(first.y)} to ${format(last.y)}` : `${name}: no values`;
    })
    .join("; ");

/** The width of an element, as it changes, px. @param {{ current: HTMLElement | null }} element */
function useWidth(element) {
  const [width, setWidth] = useState(400);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.round(entry.contentRect.width)));
    if (element.current) observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}
