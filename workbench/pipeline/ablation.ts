// An ablation: the variants that answer questions about the method, as one experiment, which is repeated with other seeds
// and calibration data if asked. Each question compares variants that differ in one thing only.

import { join } from "node:path";
import { ALLOCATIONS } from "../compress/index.ts";
import type { Domain } from "./domains/domain.ts";
import { experiment } from "./experiment.ts";
import type { ExperimentSettings } from "./settings.ts";
import type { ExperimentContext, PipelineEvent } from "./stage.ts";
import { gridOf, pointText, type Varied } from "./sweep.ts";
import { parseVariant } from "./variants.ts";

/** The variant that all questions share, and the low rank with which it is compared. */
const METHOD = "gblr:search";
const RIVAL = "lowrank:activation";

/** The values for which an ablation has rows. */
export interface AblationValues {
  /** quanta of widths, in samples */
  quanta: readonly number[];
  /** σ of masks */
  sigmas: readonly number[];
  /** whether variants are trained after their conversion */
  isTrained: boolean;
}

interface Question {
  summary: string;
  /** the variants to compare, as in `--compare` */
  variants(values: AblationValues): string[];
}

/** The questions by name. */
export const QUESTIONS = {
  allocation: {
    summary: "low rank and GBLR with each allocation of the budget",
    variants: () => ALLOCATIONS.flatMap((how) => [`${RIVAL}:${how}`, `${METHOD}:${how}`]),
  },
  widths: {
    summary: "blocks of full width against searched and trained widths",
    variants: ({ isTrained }) => [
      "gblr:activation",
      METHOD,
      ...(isTrained ? [`${METHOD}+structure-learning-rate=0+shrink=none`] : []),
    ],
  },
  masks: {
    summary: "boxcar against Gaussian masks of the same widths",
    variants: ({ sigmas }) => [METHOD, ...sigmas.map((sigma) => `${METHOD}+mask-sigma=${sigma}`)],
  },
  quantum: {
    summary: "widths and locations at multiples of a quantum",
    variants: ({ quanta }) => [METHOD, ...quanta.map((quantum) => `${METHOD}+quantum=${quantum}`)],
  },
} as const satisfies Record<string, Question>;

/** Name of a question. */
export type QuestionName = keyof typeof QUESTIONS;

/** The titles of the rows that answer each question. */
export function answersTo(
  questions: readonly QuestionName[],
  values: AblationValues,
): Partial<Record<QuestionName, string[]>> {
  const titles = (name: QuestionName) => QUESTIONS[name].variants(values).map((text) => parseVariant(text).title);
  return Object.fromEntries(questions.map((name) => [name, titles(name)]));
}

/** The settings of the experiment that has the variants of all questions once. */
export function ablationSettings(
  questions: readonly QuestionName[],
  values: AblationValues,
): Pick<ExperimentSettings, "structure" | "init" | "allocate" | "compare" | "fineTune"> {
  const main = parseVariant(METHOD);
  const all = questions.flatMap((name) => QUESTIONS[name].variants(values));
  const byKey = new Map(all.map((text) => [parseVariant(text).key, text]));
  byKey.delete(main.key);
  return {
    structure: main.structure,
    init: main.init,
    allocate: main.allocation,
    compare: [...byKey.values()],
    fineTune: values.isTrained ? undefined : ["none"],
  };
}

/** An ablation to run. */
export interface Ablation<Settings> {
  /** with those of `ablationSettings` */
  settings: Settings;
  /** `seed` and `calibration-seed` with their values, each pair of which is a run */
  repetitions: readonly Varied[];
  /** folder of the run, or with repetitions of the folders of all runs */
  folder: string;
  context: ExperimentContext;
}

/** Settings that repetitions vary, by their names in flags. */
const REPEATED: Readonly<Record<string, "seed" | "calibrationSeed">> = {
  seed: "seed",
  "calibration-seed": "calibrationSeed",
};

/** Runs an ablation, or resumes it. @returns the folders of the runs; undefined if the signal stopped the work */
export async function* ablate<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  { settings, repetitions, folder, context }: Ablation<Settings>,
): AsyncGenerator<PipelineEvent, string[] | undefined> {
  const points = gridOf(repetitions);
  const folders: string[] = [];
  for (const [index, point] of points.entries()) {
    const own = Object.entries(point.values).map(([name, value]) => [REPEATED[name] as string, Number(value)] as const);
    const place = join(folder, point.key);
    if (points.length > 1) yield { kind: "note", text: `run ${index + 1} of ${points.length}: ${pointText(point)}` };
    const repeated = { ...settings, ...Object.fromEntries(own) };
    for await (const event of experiment(domain, repeated, { context, folder: place })) {
      // The result of each run is a part of the table at the end.
      if (event.kind !== "finished") yield event;
      if (event.kind === "interrupted") return undefined;
    }
    folders.push(place);
  }
  return folders;
}
