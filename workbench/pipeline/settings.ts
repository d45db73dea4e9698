// The settings that every experiment has, each with its default, unit and limits. Flags, help, run.json and the checks
// are derived from them. The defaults are those of the published experiment with GPT-2; recipes override them.

import { z } from "zod";
import { ALLOCATIONS, CONVOLUTIONS, INITS } from "../compress/index.ts";
import { gblr } from "../structures/gblr.ts";
import { structures } from "../structures/registry.ts";

export const text = (description: string) => z.string().min(1).meta({ description });
export const count = (description: string, unit?: string) =>
  z
    .int()
    .min(1)
    .meta({ description, ...(unit && { unit }) });
export const amount = (description: string, unit?: string) =>
  z
    .number()
    .positive()
    .meta({ description, ...(unit && { unit }) });
export const share = (description: string) => z.number().positive().max(1).meta({ description, unit: "share" });

/** Metadata of a setting, in `meta` of its schema. */
export interface SettingMeta {
  description: string;
  /** unit of the value, shown as the flag's placeholder */
  unit?: string;
  /** heading in `--help` */
  group?: string;
  /** earlier names of the setting: still accepted as flags, and found in run.json of older runs */
  formerly?: readonly string[];
}

/** Renames settings of an older record to their present names. */
export function withPresentNames(
  schema: z.ZodObject,
  values: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const present = new Map(
    Object.entries(schema.shape).flatMap(([name, setting]) =>
      (((setting as z.ZodType).meta() as Partial<SettingMeta> | undefined)?.formerly ?? []).map(
        (former) => [former, name] as const,
      ),
    ),
  );
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [present.get(name) ?? name, value]));
}

/** Puts settings under one heading of `--help`. */
export function grouped<Shape extends Record<string, z.ZodType>>(group: string, shape: Shape): Shape {
  const entries = Object.entries(shape).map(([name, schema]) => [name, schema.meta({ ...schema.meta(), group })]);
  return Object.fromEntries(entries) as Shape;
}

/** @param items unit in which data sets are counted: `windows` or `images` */
export const experimentShape = (items: string) => ({
  ...grouped("Model and data", {
    model: text("model to start from: owner/name[@revision] or a folder"),
    dataset: text("data set: owner/name[@revision] or a folder"),
    config: text("configuration of the data set (default: the only one, or its own default)").optional(),
    trainSplit: text("split to train on").default("train"),
    validationSplit: text("split to evaluate on while training").default("validation"),
    testSplit: text("split that the results are of").default("test"),
  }),
  ...grouped("Compression", {
    structure: z
      .enum(structures().map(({ name }) => name))
      .default(gblr.name)
      .meta({ description: "of the converted layers; dense: none is converted" }),
    compare: z.array(z.string()).default([]).meta({
      description: "rivals trained alike, as structure[:init[:allocation]], e.g. lowrank,monarch,gblr:activation",
    }),
    widths: text("rule for the first widths of gblr, where neither flops nor budget is given").default("lr0.25"),
    locations: text("rule for the first locations of gblr: linspace, uniform or constX").default("linspace"),
    flops: share("relative FLOPs (reference) of the whole model").optional(),
    budget: share("cost of the converted layers, relative to dense").optional(),
    allocate: z.enum(ALLOCATIONS).default("uniform").meta({ description: "how layers share the budget" }),
    layers: text("layers to convert: recipe, or a pattern such as h.0.*").default("recipe"),
    convolutions: z
      .enum(CONVOLUTIONS)
      .default("integrated")
      .meta({ description: "as one matrix each, or as one for each position of the kernel" }),
    init: z.enum(INITS).default("svd").meta({ description: "what the factors start as" }),
    searchSteps: count("of the block search, for each layer", "steps").default(1000),
    calibrationSamples: count("of the training data that activation-aware factors look at", items).default(128),
  }),
  ...grouped("Training", {
    epochs: amount("length of the training", "epochs").default(10),
    steps: count("length of the training, instead of epochs", "steps").optional(),
    batch: count("of one optimizer step", items).default(512),
    microBatch: count("of one forward pass", items).default(16),
    trainLimit: count("train on the first so many only", items).optional(),
    learningRate: amount("highest learning rate").default(1.5e-3),
    structureLearningRate: amount("of widths and locations (default: the learning rate)").optional(),
    weightDecay: z
      .number()
      .min(0)
      .default(0.1)
      .meta({ description: "of weights; biases, norms and structure have none" }),
    schedule: z.enum(["linear", "cosine", "constant"]).default("linear").meta({ description: "of the learning rate" }),
    warmupEpochs: z.number().min(0).default(1).meta({ description: "of rising learning rate", unit: "epochs" }),
    warmupSteps: count("of rising learning rate, instead of epochs", "steps").optional(),
    decayEpochs: amount("after which the learning rate has reached its minimum (default: all)", "epochs").optional(),
    minimumRate: z.number().min(0).default(0).meta({ description: "learning rate at the end" }),
    clip: z.number().min(0).default(1).meta({ description: "largest norm of the gradient; 0: any" }),
    distill: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .meta({ description: "weight of the dense model's predictions in the loss" }),
    temperature: amount("of distillation").default(2),
  }),
  ...grouped("Widths of GBLR blocks", {
    shrink: z
      .enum(["mean", "budget", "soft", "targeted", "adaptive", "none"])
      .default("mean")
      .meta({ description: "rule on widths: mean holds their mean, budget their exact cost; the others soft-shrink" }),
    shrinkEvery: count("steps from one read of widths to the next (default: 1)").optional(),
    threshold: amount("of soft shrinking, taken off for a learning rate of 1").optional(),
    startThreshold: amount("the same before adaptive begins to adapt (default: the threshold)").optional(),
    approach: amount("power by which targeted and adaptive slow down on the way to the target").optional(),
    freeze: z.boolean().optional().meta({ description: "targeted leaves widths alone for good once below the target" }),
    target: share("mean width, or with budget relative cost of the layers (default: as converted)").optional(),
    startCost: share("cost of the converted layers at the start, from which budget shrinks to the target").optional(),
    shrinkEpochs: amount(
      "over which the budget rule goes to its target (default: half of the training), or adaptive to the targeted rule",
      "epochs",
    ).optional(),
    sigma: z
      .array(z.coerce.number().positive())
      .length(2)
      .optional()
      .meta({ description: "smoothness of masks at the start and the end, e.g. 1,100 (default: sharp masks)" }),
    sigmaEpochs: z
      .array(z.coerce.number().min(0))
      .length(2)
      .optional()
      .meta({ description: "epochs between which the smoothness moves (default: from warm-up to the end)" }),
  }),
  ...grouped("Evaluation and files", {
    evaluateEvery: amount("between evaluations", "epochs").default(1),
    checkpointEvery: amount("between checkpoints", "epochs").default(1),
    limit: count("evaluate on the first so many only", items).optional(),
    seed: z.int().min(0).default(1111).meta({ description: "of every random choice" }),

    run: text("folder of the run (default: runs/<recipe>-<structure>)").optional(),
    fresh: z.boolean().default(false).meta({ description: "begin again, dropping what the run folder has" }),
    push: text("repository to push the model to, owner/name").optional(),
    private: z.boolean().default(false).meta({ description: "a repository made by --push is private" }),
  }),
});

const anyExperiment = z.object(experimentShape("items"));
export type ExperimentSettings = z.output<typeof anyExperiment>;
