// The page of `gblr watch`: the runs with their states, and the curves of all of them over each other, which grow while
// the runs write.

import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { eventsOf, RequestFailed, request } from "../api.js";
import { Check, html, Problem, Select } from "../html.js";
import { KeyForm } from "../key-form.js";
import { Chart, lineOf } from "./chart.js";
import { colorOf, RunList } from "./run-list.js";
import { QUANTITIES, quantitiesOf, withEvent } from "./run-store.js";
import { Samples } from "./samples.js";
import { changedView, wholeRange } from "./view.js";
import { Widths } from "./widths.js";

/** @typedef {import("./run-store.js").Run} Run @typedef {import("./run-store.js").XAxis} XAxis */

/** time before a lost connection is tried again, milliseconds */
const AGAIN = 2000;

/** Follows the events of the server, and connects again when the connection is lost. @param {number} tries with keys */
function useRuns(tries) {
  const [runs, setRuns] = useState(/** @type {readonly Run[] | undefined} */ (undefined));
  const [failure, setFailure] = useState(/** @type {RequestFailed | undefined} */ (undefined));
  useEffect(() => {
    const gone = new AbortController();
    follow(gone.signal, { onRuns: setRuns, onFailure: setFailure });
    return () => gone.abort();
  }, [tries]);
  return { runs, failure };
}

/**
 * @param {AbortSignal} signal
 * @param {{ onRuns: (runs: readonly Run[]) => void, onFailure: (failure: RequestFailed | undefined) => void }} told
 */
async function follow(signal, { onRuns, onFailure }) {
  while (!signal.aborted) {
    try {
      /** @type {readonly Run[]} */
      let runs = [];
      let [isDrawing, busy] = [false, 0];
      const draw = () => {
        isDrawing = false;
        const started = performance.now();
        onRuns(runs);
        // The page is drawn before this is called.
        setTimeout(() => {
          busy = performance.now() - started;
        });
      };
      for await (const event of eventsOf(await request("/events", { signal }))) {
        runs = withEvent(runs, event);
        onFailure(undefined);
        // A long run comes in many events. Drawing takes a small part of the time that reading them takes.
        if (!isDrawing) setTimeout(draw, Math.max(50, 4 * busy));
        isDrawing = true;
      }
      throw new RequestFailed(0, "the connection to the server is lost; trying again");
    } catch (error) {
      if (signal.aborted) return;
      const failure =
        error instanceof RequestFailed
          ? error
          : new RequestFailed(0, "the connection to the server is lost; trying again");
      onFailure(failure);
      if (failure.needsKey) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

function App() {
  const [tries, setTries] = useState(0);
  const { runs, failure } = useRuns(tries);
  return html`<main><h1>gblr watch</h1>
    ${failure?.needsKey ? html`<${KeyForm} wrong=${tries > 0} onKey=${() => setTries(tries + 1)} />` : failure && html`<${Problem} message=${failure.message} />`}
    ${runs ? html`<${Page} runs=${runs} />` : !failure && html`<p class="soft">Reads the runs …</p>`}
  </main>`;
}

/** @param {{ runs: readonly Run[] }} properties */
function Page({ runs }) {
  const [hidden, setHidden] = useState(/** @type {readonly string[]} */ ([]));
  const [xAxis, setXAxis] = useState(/** @type {XAxis} */ ("step"));
  const [isLog, setLog] = useState(false);
  const [chosen, setChosen] = useState(/** @type {import("./view.js").Range | undefined} */ (undefined));
  const [cursor, setCursor] = useState(/** @type {number | undefined} */ (undefined));
  const shown = runs.map((run, i) => ({ run, color: colorOf(i) })).filter(({ run }) => !hidden.includes(run.label));
  const charts = useMemo(() => chartsOf(shown, xAxis), [runs, hidden, xAxis]);
  const whole = wholeRange(charts.flatMap(({ lines }) => lines.map(({ points }) => points)));
  const onView = (/** @type {import("./view.js").ViewChange} */ change) =>
    setChosen(changedView(chosen, change, whole));
  const range = chosen ?? whole;
  const middle = (range[0] + range[1]) / 2;
  const withSamples = shown.filter(({ run }) => run.samples.length > 0);
  const withWidths = shown.filter(({ run }) => run.structures.length > 0);
  const changeX = (/** @type {XAxis} */ name) => {
    setXAxis(name);
    setChosen(undefined);
    setCursor(undefined);
  };
  const toggle = (/** @type {string} */ label) =>
    setHidden((before) => (before.includes(label) ? before.filter((each) => each !== label) : [...before, label]));
  return html`<div>
    <${RunList} runs=${runs} hidden=${hidden} onToggle=${toggle} />
    <section aria-labelledby="curves"><h2 id="curves">Curves</h2>
      <div class="settings">
        <${Select} id="x-axis" label="x axis" value=${xAxis} options=${["step", "epoch", "seconds"]} onValue=${changeX} />
        <${Check} label="logarithmic values" checked=${isLog} onChange=${setLog} />
        <span class="buttons">
          <button type="button" aria-label="Zoom in" onClick=${() => onView({ kind: "zoom", factor: 0.5, at: cursor ?? middle })}>+</button>
          <button type="button" aria-label="Zoom out" onClick=${() => onView({ kind: "zoom", factor: 2, at: cursor ?? middle })}>−</button>
          <button type="button" disabled=${chosen === undefined} onClick=${() => onView({ kind: "whole" })}>Whole runs</button>
        </span>
      </div>
      <p id="chart-help" class="soft">Drag over a chart to zoom in. With the keyboard: arrows move along a curve, plus and minus zoom, 0 shows the whole runs.</p>
      ${charts.length === 0 && html`<p class="soft" role="status">No metrics yet. Curves appear here with the first step.</p>`}
      <div class="charts">${charts.map(
        ({ quantity, ...chart }) => html`<${Chart} key=${quantity} id=${`chart-${quantity.replace(/\W/g, "-")}`}
        ...${chart} xName=${xAxis} isLog=${isLog} range=${range} cursor=${cursor} onCursor=${setCursor} onView=${onView} />`,
      )}
        ${withWidths.length > 0 && html`<${Widths} runs=${withWidths.map(({ run, color }) => ({ name: run.label, color, structures: run.structures }))} />`}
      </div>
    </section>
    ${withSamples.length > 0 && html`<${Samples} runs=${withSamples.map(({ run, color }) => ({ name: run.label, color, samples: run.samples }))} />`}
  </div>`;
}

/** The charts of the runs that are shown. @param {readonly { run: Run, color: number }[]} shown @param {XAxis} xAxis */
function chartsOf(shown, xAxis) {
  return quantitiesOf(shown.map(({ run }) => run)).map((quantity) => {
    const known = Object.hasOwn(QUANTITIES, quantity)
      ? QUANTITIES[/** @type {keyof typeof QUANTITIES} */ (quantity)]
      : undefined;
    const isNoisy = known !== undefined && "isNoisy" in known;
    const splits = [...new Set(shown.flatMap(({ run }) => curvesOf(run, quantity).map(({ split }) => split)))];
    const lines = shown.flatMap(({ run, color }) =>
      curvesOf(run, quantity).map(({ split, values }) => {
        const name = splits.length > 1 ? `${run.label}, ${split}` : run.label;
        const points = values.map((value) => ({ x: value[xAxis], y: value.y }));
        return lineOf({ name, color, isDashed: splits.indexOf(split) > 0, points }, isNoisy);
      }),
    );
    const title = known?.title ?? titled(quantity);
    const axis = quantity === "rate" ? `${unitOf(shown)} a second` : (known?.axis ?? splits.join(", "));
    return { quantity, title, axis, isShare: known !== undefined && "isShare" in known, lines };
  });
}

/** @param {Run} run @param {string} quantity */
const curvesOf = ({ curves }, quantity) => [...curves.values()].filter((curve) => curve.quantity === quantity);

/** What speeds count. @param {readonly { run: Run }[]} shown */
const unitOf = (shown) => [...new Set(shown.flatMap(({ run }) => run.state.unit ?? []))].join(" or ") || "samples";

/** @param {string} metric */
const titled = (metric) => metric.charAt(0).toUpperCase() + metric.slice(1);

render(html`<${App} />`, document.body);
