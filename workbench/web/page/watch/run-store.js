// What the page knows of the runs: their states and their curves, made from the events of the server one after the other.

/**
 * @typedef {"step" | "epoch" | "seconds"} XAxis
 * @typedef {Record<XAxis, number> & { y: number }} Value
 * @typedef {object} Curve the values of one quantity of a run
 * @property {string} quantity key in QUANTITIES, or the name of a metric
 * @property {string} [split] of an evaluation
 * @property {Value[]} values in the order of steps
 *
 * @typedef {{ live: number, cost: number, meanWidthIn: number, meanWidthOut: number }} LayerWidths
 * @typedef {Record<XAxis, number> & { layers: Record<string, LayerWidths> }} Structure
 * @typedef {Record<XAxis, number> & { prompt: string, text: string }} Sample
 * @typedef {{ exists: boolean, name?: string, status?: string, error?: string, steps?: number, unit?: string, targetCost?: number, problem?: string }} RunState
 * @typedef {object} Run
 * @property {string} label folder of the run, as given
 * @property {RunState} state
 * @property {Map<string, Curve>} curves
 * @property {Structure[]} structures
 * @property {Sample[]} samples
 * @property {number} [written] when its file was last written, milliseconds since 1970
 * @property {number} restarts how often its metrics began again
 */

/** Quantities of steps and of the structure, in the order of the page. Metrics of evaluations come after the loss. */
export const QUANTITIES = /** @type {const} */ ({
  loss: { title: "Training loss", axis: "nats", isNoisy: true },
  relativeFlops: { title: "Relative FLOPs of the model", axis: "share of dense", isShare: true },
  relativeCost: { title: "Cost of the layers", axis: "share of dense", isShare: true },
  meanWidth: { title: "Mean width of blocks", axis: "share of the side", isShare: true },
  learningRate: { title: "Learning rate", axis: "" },
  gradientNorm: { title: "Gradient norm", axis: "before clipping", isNoisy: true },
  sigma: { title: "σ of the masks", axis: "" },
  rate: { title: "Speed", axis: "", isNoisy: true },
});

/** @param {string} label @returns {Run} */
const newRun = (label) => ({
  label,
  state: { exists: false },
  curves: new Map(),
  structures: [],
  samples: [],
  restarts: 0,
});

/**
 * The runs after one more event. Runs that it does not concern stay the same objects.
 * @param {readonly Run[]} runs @param {any} event of the server
 * @returns {readonly Run[]}
 */
export function withEvent(runs, event) {
  // A new connection begins with the list, and tells everything again.
  if (event.kind === "runs") return event.runs.map(newRun);
  return runs.map((run, i) => (i === event.run ? changed(run, event) : run));
}

/** @param {Run} run @param {any} event @returns {Run} */
function changed(run, event) {
  if (event.kind === "state") return { ...run, state: event.state };
  if (event.kind === "restarted") {
    return { ...newRun(run.label), state: run.state, restarts: run.restarts + 1 };
  }
  for (const line of event.lines) add(run, line);
  return { ...run, written: event.written };
}

/** Adds a line of metrics.jsonl to the curves. @param {Run} run @param {any} line */
function add({ curves, structures, samples }, line) {
  const { kind, step, epoch, seconds } = line;
  const at = { step, epoch, seconds };
  const put = (/** @type {string} */ quantity, /** @type {unknown} */ y, /** @type {string | undefined} */ split) => {
    if (typeof y !== "number" || !Number.isFinite(y)) return;
    const key = split === undefined ? quantity : `${quantity}, ${split}`;
    const curve = curves.get(key) ?? { quantity, ...(split !== undefined && { split }), values: [] };
    curves.set(key, curve);
    rewind(curve.values, step);
    curve.values.push({ ...at, y });
  };
  if (kind === "step") for (const name of Object.keys(QUANTITIES)) put(name, line[name], undefined);
  if (kind === "evaluation") for (const [name, y] of Object.entries(line.values)) put(name, y, line.split);
  if (kind === "structure") {
    put("relativeFlops", line.relativeFlops.reference, undefined);
    rewind(structures, step);
    structures.push({ ...at, layers: line.layers });
  }
  if (kind === "sample") {
    rewind(samples, step, line.prompt);
    samples.push({ ...at, prompt: line.prompt, text: line.text });
  }
}

/**
 * A run that goes on from an earlier checkpoint writes later steps anew.
 * @param {{ step: number, prompt?: string }[]} values
 * @param {number} step
 * @param {string} [prompt] of a sample: a step has one of each prompt
 */
function rewind(values, step, prompt) {
  for (let i = values.length - 1; i >= 0; i--) {
    const value = /** @type {{ step: number, prompt?: string }} */ (values[i]);
    if (value.step < step) return;
    if (value.step > step || value.prompt === prompt) values.splice(i, 1);
  }
}

/** Last step of a run, 0 before the first one. @param {Run} run */
export const lastStep = ({ curves }) =>
  Math.max(0, ...[...curves.values()].map(({ values }) => values.at(-1)?.step ?? 0));

/**
 * The quantities that any run has, in the order of the page: the loss, the metrics of evaluations, and the others. The
 * negative log-likelihood is left out beside the perplexity, which is its exponential.
 * @param {readonly Run[]} runs
 * @returns {string[]}
 */
export function quantitiesOf(runs) {
  const found = new Set(runs.flatMap(({ curves }) => [...curves.values()].map(({ quantity }) => quantity)));
  if (found.has("perplexity")) found.delete("nll");
  const [loss, ...others] = Object.keys(QUANTITIES);
  const metrics = [...found].filter((name) => !Object.hasOwn(QUANTITIES, name)).sort();
  return [/** @type {string} */ (loss), ...metrics, ...others].filter((name) => found.has(name));
}
