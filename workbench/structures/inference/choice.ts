// Chooses the form that a layer has in inference. On the torch engine the forms of a large layer are timed, on one row
// or on many; the fastest one is remembered, in memory and in a file, for this machine and for layers of the same size
// and about the same cost. Elsewhere, and for small layers and convolutions, a rule chooses.
//
// Times vary, so that two machines, or two runs without a cache, may choose differently. The forms of a layer differ by
// rounding only.

import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { dispose, fill, randomUniform, sum, tidy } from "@tensorflow/tfjs-core";
import { z } from "zod";
import { workbenchCache } from "../../../hub/cache/paths.ts";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import { CORE_TYPE } from "../../../native/blas-probe.ts";
import { openedEngine } from "../../engine/core/open.ts";
import type { Engine } from "../../engine/core/types.ts";
import type { MatrixSize } from "../budget.ts";
import { FORM_NAMES, type FormName, type HeldMatrix, type InferenceForm } from "../structure.ts";

/** Typical number of rows of products: `many` in evaluation, `few` in generation token by token. */
export type Rows = "many" | "few";

/** The layer whose form is chosen. */
export interface FormQuestion extends MatrixSize {
  rows: Rows;
  /** whether it is a convolution, which only the dense matrix and low-rank factors compute */
  isConvolution: boolean;
}

/** Version of the file's format and of the measurement. */
const VERSION = 1;

/** Measured choices by what they depend on, as they are stored. */
export const MEASURED_FORMS = z.record(
  z.string(),
  z.object({
    form: z.enum(FORM_NAMES),
    /** seconds of one product by form */
    seconds: z.partialRecord(z.enum(FORM_NAMES), z.number()),
  }),
);

/** Measured choices by what they depend on. */
export type MeasuredForms = z.infer<typeof MEASURED_FORMS>;
/** A measured choice. */
export type MeasuredForm = MeasuredForms[string];

const formsFile = z.object({ version: z.literal(VERSION), choices: MEASURED_FORMS });

/** Smallest number of entries of a matrix whose forms are timed. The product with a smaller one takes microseconds. */
const LEAST_ENTRIES = 1 << 18;
/** For which rows a form is timed, and whether it computes convolutions. */
const FORMS: Readonly<Record<FormName, { timed: readonly Rows[]; computesConvolutions: boolean }>> = {
  dense: { timed: ["many", "few"], computesConvolutions: true },
  lowrank: { timed: ["many", "few"], computesConvolutions: true },
  // With many rows it takes several times as long as the others.
  packed: { timed: ["few"], computesConvolutions: false },
  panels: { timed: ["many", "few"], computesConvolutions: false },
};
const PROBE_ROWS: Readonly<Record<Rows, number>> = { many: 512, few: 1 };
const ROUNDS = 5;
/** Values that push a matrix out of the caches: a model does not fit into them either. */
const FLUSH_VALUES = 1 << 24;
/** Layers of one size whose costs are in the same twentieth of dense share a choice. */
const COST_STEPS = 20;

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
    this.file = join(workbenchCache(environment), "forms.json");
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
    const key = keyOf(forms, question, { engine, kernels: this.kernels });
    const known = this.choices().get(key);
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
    this.known ??= new Map(Object.entries(readChoices(this.file)));
    return this.known;
  }

  /** Adds a choice to the file, which other processes may have changed. A choice that cannot be kept is made again. */
  private async remember(key: string, choice: MeasuredForm): Promise<void> {
    this.choices().set(key, choice);
    this.used.set(key, choice);
    const { file } = this;
    if (file === undefined) return;
    const contents = { version: VERSION, choices: { ...readChoices(file), [key]: choice } };
    try {
      await mkdir(dirname(file), { recursive: true });
      await writeFileAtomically(file, `${JSON.stringify(contents, null, 1)}\n`);
    } catch {
      // The folder cannot be written to.
    }
  }
}

/** The choices of this process. */
export const formChoices = new FormChoices();

/** The choices in a file; none if there is no file, or it is damaged or has another format. */
function readChoices(file: string | undefined): MeasuredForms {
  if (file === undefined) return {};
  try {
    return formsFile.parse(JSON.parse(readFileSync(file, "utf8"))).choices;
  } catch {
    return {};
  }
}

/** What a choice depends on. */
function keyOf(
  forms: readonly InferenceForm[],
  { nIn, nOut, rows }: FormQuestion,
  { engine, kernels }: { engine: Engine; kernels: string | undefined },
): string {
  const { version, device, precision, threads } = engine;
  const machine = [cpus()[0]?.model, version, device, precision, `${threads} threads`, kernels];
  const costs = forms.map(({ name, cost }) => `${name} ${Math.ceil((COST_STEPS * cost) / (nIn * nOut))}`);
  return [...machine.filter(Boolean), `${rows} rows`, `${nOut} × ${nIn}`, ...costs].join(", ");
}

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
