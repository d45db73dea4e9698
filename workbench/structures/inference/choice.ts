// Chooses the form that a layer has in inference. On the torch engine the forms of a large layer are timed, on one row
// or on many; the fastest one is remembered, in memory and in a file, for this machine and for layers of the same size
// and about the same cost. Elsewhere, and for small layers and convolutions, a rule chooses.
//
// Times vary, so that two machines, or two runs without a cache, may choose differently. The forms of a layer differ by
// rounding only.

import { dispose, fill, randomUniform, sum, tidy } from "@tensorflow/tfjs-core";
import { CORE_TYPE } from "../../../native/blas/blas-probe.ts";
import { deviceKind, openedEngine } from "../../engine/core/open.ts";
import type { Engine } from "../../engine/core/types.ts";
import type { MatrixSize } from "../budget.ts";
import type { FormName, HeldMatrix, InferenceForm } from "../structure.ts";
import {
  formKey,
  formsPath,
  keepForm,
  LEAST_ENTRIES,
  type MeasuredForm,
  type MeasuredForms,
  PROBE_ROWS,
  type Rows,
  readForms,
} from "./kept-forms.ts";

/** The layer whose form is chosen. */
export interface FormQuestion extends MatrixSize {
  rows: Rows;
  /** whether it is a convolution, which only the dense matrix and low-rank factors compute */
  isConvolution: boolean;
}

/** For which rows a form is timed, and whether it computes convolutions. */
const FORMS: Readonly<Record<FormName, { timed: readonly Rows[]; computesConvolutions: boolean }>> = {
  dense: { timed: ["many", "few"], computesConvolutions: true },
  lowrank: { timed: ["many", "few"], computesConvolutions: true },
  // With many rows it takes several times as long as the others.
  packed: { timed: ["few"], computesConvolutions: false },
  panels: { timed: ["many", "few"], computesConvolutions: false },
  // Of one row, the products are too small for libraries.
  tiles: { timed: ["many"], computesConvolutions: false },
};
const ROUNDS = 5;
/** Values that push a matrix out of the caches: a model does not fit into them either. */
const FLUSH_VALUES = 1 << 24;

/** Options of `FormChoices`, for tests. */
export interface FormChoicesOptions {
  /** where choices are kept. Default: in memory only */
  file?: string;
  /** measures the seconds of one product by form. Default: with the clock */
  time?: (held: ReadonlyMap<FormName, HeldMatrix>, question: FormQuestion) => Promise<MeasuredForm["seconds"]>;
}

/** The choices that were measured on a machine. */
export class FormChoices {
  /** the form that layers get which can have it, instead of the fastest one */
  pinned: FormName | undefined;
  /** whether forms are timed again where a choice is known, once in this process */
  measuresAgain = false;
  private file: string | undefined;
  /** the kernels that the user has chosen for OpenBLAS */
  private kernels: string | undefined;
  private readonly time: NonNullable<FormChoicesOptions["time"]>;
  private known: Map<string, MeasuredForm> | undefined;
  private readonly used = new Map<string, MeasuredForm>();

  constructor(options: FormChoicesOptions = {}) {
    this.file = options.file;
    this.time = options.time ?? secondsByForm;
  }

  /** Keeps the choices in the user's cache from now on. */
  keepIn(environment: Readonly<Record<string, string | undefined>>): void {
    this.file = formsPath(environment);
    this.kernels = environment[CORE_TYPE];
    this.known = undefined;
  }

  /**
   * The fastest form of a layer. The caller disposes of it.
   * @param forms all forms that the layer can have
   */
  async choose(forms: readonly InferenceForm[], question: FormQuestion): Promise<HeldMatrix> {
    const { pinned } = this;
    const able = forms.filter(({ name }) => FORMS[name].computesConvolutions || !question.isConvolution);
    const wanted = able.find(({ name }) => name === pinned);
    if (wanted) return wanted.make();
    const engine = openedEngine();
    const isLarge = question.nIn * question.nOut >= LEAST_ENTRIES;
    if (engine?.name !== "torch" || question.isConvolution || !isLarge) {
      return formByRule(able, question, engine).make();
    }
    const { version, device, gpu, precision, threads } = engine;
    const facts = [version, gpu ?? deviceKind(device), precision, `${threads} threads`, this.kernels];
    const key = formKey({ ...question, costs: forms, settings: facts.filter(Boolean).join(", ") });
    const known = (this.measuresAgain ? this.used : this.choices()).get(key);
    const form = forms.find(({ name }) => name === known?.form);
    if (!known || !form) return this.measure(forms, question, key);
    this.used.set(key, known);
    return form.make();
  }

  /** The choices that this process has taken so far, by what they depend on. */
  get taken(): MeasuredForms {
    return Object.fromEntries(this.used);
  }

  /** Takes the choices of another process, such as the one that a training run goes on from. They are not kept. */
  adopt(choices: MeasuredForms): void {
    for (const [key, choice] of Object.entries(choices)) {
      this.choices().set(key, choice);
      this.used.set(key, choice);
    }
  }

  private async measure(forms: readonly InferenceForm[], question: FormQuestion, key: string): Promise<HeldMatrix> {
    const held = new Map<FormName, HeldMatrix>();
    let chosen: FormName | undefined;
    try {
      for (const { name, make } of forms) {
        if (FORMS[name].timed.includes(question.rows)) held.set(name, await make());
      }
      const seconds = await this.time(held, question);
      const [[fastest]] = Object.entries(seconds).sort(([, a], [, b]) => a - b) as [[FormName, number]];
      chosen = fastest;
      await this.remember(key, { form: chosen, seconds });
      return held.get(chosen) as HeldMatrix;
    } finally {
      for (const [name, { parameters }] of held) if (name !== chosen) dispose({ ...parameters });
    }
  }

  private choices(): Map<string, MeasuredForm> {
    this.known ??= new Map(Object.entries(readForms(this.file)));
    return this.known;
  }

  /** Keeps a choice. One that cannot be kept is made again by the next process. */
  private async remember(key: string, choice: MeasuredForm): Promise<void> {
    this.choices().set(key, choice);
    this.used.set(key, choice);
    if (this.file === undefined) return;
    await keepForm(this.file, key, choice).catch(() => {
      // The folder cannot be written to.
    });
  }
}

/** The choices of this process. */
export const formChoices = new FormChoices();

/**
 * Panels for few rows on the CPU, because they take one operator; otherwise the dense matrix or the factors, whichever has
 * fewer multiply-adds, because every engine multiplies by these fast.
 */
function formByRule(
  forms: readonly InferenceForm[],
  { rows }: FormQuestion,
  engine: Engine | undefined,
): InferenceForm {
  const panels = forms.find(({ name }) => name === "panels");
  if (panels && rows === "few" && engine?.name === "torch" && engine.device === "cpu") return panels;
  const candidates = forms.filter(({ name }) => FORMS[name].computesConvolutions);
  return candidates.reduce((best, form) => (form.cost < best.cost ? form : best));
}

/** The shortest time of one product with each form. The forms take turns, so that a disturbance affects all of them. */
async function secondsByForm(
  held: ReadonlyMap<FormName, HeldMatrix>,
  { nIn, rows }: FormQuestion,
): Promise<MeasuredForm["seconds"]> {
  const engine = openedEngine() as Engine;
  const x = randomUniform([PROBE_ROWS[rows], nIn], -1, 1);
  const large = rows === "few" ? fill([FLUSH_VALUES], 1) : undefined;
  const seconds: MeasuredForm["seconds"] = {};
  try {
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [name, { structure, parameters }] of held) {
        if (large) tidy(() => sum(large)).dispose();
        await engine.synchronize();
        const began = performance.now();
        structure.apply(parameters, x).dispose();
        await engine.synchronize();
        const taken = (performance.now() - began) / 1000;
        // The first round warms up.
        if (round > 0) seconds[name] = Math.min(taken, seconds[name] ?? Number.POSITIVE_INFINITY);
      }
    }
    return seconds;
  } finally {
    dispose([x, ...(large ? [large] : [])]);
  }
}
