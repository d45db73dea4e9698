// The settings that all experiments share, each with its description, unit, limits and default. The command-line flags,
// their help, their checks and run.json are derived from this schema. The defaults are those of the published GPT-2
// experiment (arXiv 2310.18882, section 5.2); recipes override them.

import { z } from "zod";
import { ALLOCATIONS, CONVOLUTIONS, INITS, ORDERS, SYMMETRY_KINDS } from "../compress/index.ts";
import { WHITENINGS } from "../gblr/init/index.ts";
import { WEIGHT_TYPES } from "../models/index.ts";
import { gblr } from "../structures/gblr.ts";
import { structures } from "../structures/registry.ts";
import { NO_ORDER } from "./reorder.ts";

/** Schema of a non-empty string. */
export const text = (description: string) => z.string().min(1).meta({ description });
/** Schema of a whole number from 1. */
export const count = (description: string, unit?: string) =>
  z
    .int()
    .min(1)
    .meta({ description, ...(unit && { unit }) });
/** Schema of a number above 0. */
export const amount = (description: string, unit?: string) =>
  z
    .number()
    .positive()
    .meta({ description, ...(unit && { unit }) });
/** Schema of a share: above 0, at most 1. */
export const share = (description: string) => z.number().positive().max(1).meta({ description, unit: "share" });

/** Metadata of a setting, stored in the `meta` of its schema. */
export interface SettingMeta {
  description: string;
  /** unit of the value, shown as the flag's placeholder */
  unit?: string;
  /** heading under which `--help` lists the setting */
  group?: string;
  /** other names of the setting, such as earlier ones, which occur in run.json of older runs. They are accepted as flags */
  aliases?: readonly string[];
}

/** Renames the settings of an older record to their present names. Other entries are kept as they are. */
export function withPresentNames(
  schema: z.ZodObject,
  values: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const present = new Map(
    Object.entries(schema.shape).flatMap(([name, setting]) =>
      (((setting as z.ZodType).meta() as Partial<SettingMeta> | undefined)?.aliases ?? []).map(
        (alias) => [alias, name] as const,
      ),
    ),
  );
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [present.get(name) ?? name, value]));
}

const COMPRESSION = "Compression";

/** Whether a setting is one of the compression, and not of the training. */
export const isCompressionSetting = (setting: z.ZodType): boolean =>
  (setting.meta() as Partial<SettingMeta> | undefined)?.group === COMPRESSION;

/** Lists settings under one heading of `--help`. */
export function grouped<Shape extends Record<string, z.ZodType>>(group: string, shape: Shape): Shape {
  const entries = Object.entries(shape).map(([name, schema]) => [name, schema.meta({ ...schema.meta(), group })]);
  return Object.fromEntries(entries) as Shape;
}

/**
 * The settings shared by all experiments, by name.
 * @param items unit in which the data set is counted: `windows` or `images`
 */
export const experimentShape = (items: string) => ({
  ...grouped("Model and data", {
    model: text("model to start from: owner/name[@revision], a folder, or a .gguf file"),
    dataset: text("data set: owner/name[@revision] or a folder"),
    config: text("configuration of the data set (default: its only or its default configuration)").optional(),
    trainSplit: text("split to train on").default("train"),
    validationSplit: text("split to evaluate on during training").default("validation"),
    testSplit: text("split to compute the reported results on").default("test"),
    stream: z.boolean().default(false).meta({
      description:
        "read the training data while training, from parquet files on the disk or the Hub, instead of fetching and preparing all of it first; text needs --steps, and an epoch of it is the whole training",
    }),
  }),
  ...grouped(COMPRESSION, {
    structure: z
      .enum(structures().map(({ name }) => name))
      .default(gblr.name)
      .meta({ description: "structure of the converted layers; dense converts none" }),
    compare: z.array(z.string()).default([]).meta({
      description:
        "other variants to train, as structure[:init[:allocation]][@budget][+setting=value], e.g. lowrank,gblr:activation,gblr@0.6,gblr:search+quantum=8",
    }),
    widths: text(
      "rule for the initial widths of gblr: lrR, splrR or constX; used if neither --flops nor --budget is given",
    ).default("lr0.25"),
    locations: text("rule for the initial locations of gblr: linspace, uniform or constX").default("linspace"),
    flops: share("budget as relative FLOPs (reference) of the whole model").optional(),
    budget: share("budget as cost of the converted layers relative to dense").optional(),
    allocate: z.enum(ALLOCATIONS).default("uniform").meta({
      description:
        "allocation of the budget: the same share for each layer, by singular values over all layers, or by the predicted increase of the loss",
    }),
    layers: text("layers to convert: recipe, or a pattern such as h.0.*").default("recipe"),
    convolutions: z.enum(CONVOLUTIONS).default("integrated").meta({
      description: "convert a convolution as one matrix, or as one matrix for each position of its kernel",
    }),
    reorder: z
      .enum([NO_ORDER, ...ORDERS.map(({ name }) => name)])
      .default(NO_ORDER)
      .meta({ description: "order in which hidden units, heads and other units are put before the conversion" }),
    reorderUnits: z
      .array(z.enum(SYMMETRY_KINDS))
      .default([])
      .meta({ description: `units to reorder, of ${SYMMETRY_KINDS.join(", ")} (default: all)` }),
    init: z.enum(INITS).default("svd").meta({ description: "initialization of the converted layers" }),
    sequential: z.boolean().default(false).meta({
      description: "fit each layer to the inputs that the layers converted before it cause",
    }),
    damping: amount(
      "with --sequential: share of the mean diagonal entry that is added to covariances (default: 1e-4)",
    ).optional(),
    whitening: z.enum(WHITENINGS).default("cholesky").meta({ description: "how covariances are factored" }),
    searchSteps: count("optimizer steps per layer, for --init search", "steps").default(1000),
    calibrationSamples: count(`training ${items} to calibrate on`, items)
      .default(128)
      // its flag in `gblr convert`
      .meta({ aliases: ["calibrateSamples"] }),
    calibrationSeed: z
      .int()
      .min(0)
      .optional()
      .meta({
        description: `draw the ${items} to calibrate on at random with this seed (default: the first windows, or images drawn with --seed)`,
        unit: "number",
        aliases: ["calibrateSeed"],
      }),
    quantum: count(
      "with --init search: blocks of gblr begin and end at multiples of so many samples (default: 1)",
      "samples",
    ).optional(),
    blockRank: count(
      "with --init search: rank of the blocks of gblr, whose ranks share a span (default: 1)",
      "ranks",
    ).optional(),
    stableBlocks: z.boolean().optional().meta({
      description: "keep blocks of gblr from cancelling each other, with --init search, so that they can be trained",
    }),
    maskSigma: amount(
      "σ of the masks of the converted gblr layers, whose widths stay the same (default: sharp masks)",
    ).optional(),
  }),
  ...grouped("Training", {
    fineTune: z.array(z.string()).optional().meta({
      description:
        "variants to train, named as in --compare, or none; the others are converted and measured only (default: all)",
    }),
    epochs: amount("length of the training", "epochs").default(10),
    steps: count("length of the training in steps, instead of --epochs", "steps").optional(),
    batch: count(`${items} per optimizer step`, items).default(512),
    microBatch: count(`${items} per forward pass`, items).default(16),
    shardOptimizer: z.boolean().optional().meta({
      description: "with several processes: keep the optimizer's state of each parameter on one of them only",
    }),
    trainLimit: count(`${items} to train on, from the start of the split (default: all)`, items).optional(),
    learningRate: amount("peak learning rate").default(1.5e-3),
    structureLearningRate: z
      .number()
      .min(0)
      .meta({
        description: "peak learning rate of widths and locations; 0 keeps them (default: the learning rate)",
      })
      .optional(),
    weightDecay: z
      .number()
      .min(0)
      .default(0.1)
      .meta({ description: "weight decay of weights; biases, norms, widths and locations have none" }),
    schedule: z
      .enum(["linear", "cosine", "constant"])
      .default("linear")
      .meta({ description: "decay of the learning rate" }),
    warmupEpochs: z.number().min(0).default(1).meta({ description: "length of the warm-up", unit: "epochs" }),
    warmupSteps: count("length of the warm-up in steps, instead of --warmup-epochs", "steps").optional(),
    decayEpochs: amount(
      "epoch at which the learning rate reaches its minimum (default: the last)",
      "epochs",
    ).optional(),
    minimumRate: z.number().min(0).default(0).meta({ description: "learning rate at the end of the decay" }),
    clip: z.number().min(0).default(1).meta({ description: "largest norm of the gradient; 0 disables clipping" }),
    lora: count(
      "rank of adapters on the matrices of layers, which are trained instead of the parameters (default: no adapters)",
      "rank",
    ).optional(),
    loraAlpha: amount("α of the adapters, whose product is scaled by α / rank (default: the rank)").optional(),
    loraLayers: text("layers that get adapters: recipe, or a pattern such as h.0.* (default: recipe)").optional(),
    loraFull: z.array(z.string().min(1)).optional().meta({
      description: "parameters to train in full beside the adapters, by parts of their names, e.g. norm,bias",
    }),
    distill: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .meta({ description: "weight of the distillation loss, with the original model as the teacher; 0 disables it" }),
    temperature: amount("temperature of the distillation").default(2),
    teacher: text("model to distill from (default: the model before it is compressed or fine-tuned)").optional(),
    teacherDtype: z.enum(WEIGHT_TYPES).optional().meta({
      description: "number type of the teacher's dense weights in memory; arithmetic is float32 (default: float32)",
    }),
  }),
  ...grouped("Widths of GBLR blocks", {
    shrink: z.enum(["mean", "budget", "soft", "targeted", "adaptive", "none"]).default("mean").meta({
      description:
        "shrink rule: mean keeps the mean width, budget the exact cost; soft, targeted and adaptive are soft shrinkage",
    }),
    shrinkEvery: count("apply the shrink rule every so many steps (default: 1)", "steps").optional(),
    threshold: amount("threshold of soft, targeted and adaptive, at a learning rate of 1").optional(),
    startThreshold: amount("threshold of adaptive before it begins to adapt (default: --threshold)").optional(),
    approach: amount("exponent that slows targeted and adaptive down near the target").optional(),
    freeze: z
      .boolean()
      .optional()
      .meta({ description: "with --shrink targeted: stop changing widths once their mean is below the target" }),
    target: share(
      "mean width to reach, or with --shrink budget the relative cost of the layers (default: as converted)",
    ).optional(),
    startCost: share("with --shrink budget: relative cost of the layers at the start of the training").optional(),
    shrinkEpochs: amount(
      "epochs in which budget reaches its target (default: half of the training), or adaptive becomes targeted",
      "epochs",
    ).optional(),
    sigma: z
      .array(z.coerce.number().positive())
      .length(2)
      .optional()
      .meta({ description: "σ of the smooth masks at the start and at the end, e.g. 1,100 (default: sharp masks)" }),
    sigmaEpochs: z
      .array(z.coerce.number().min(0))
      .length(2)
      .optional()
      .meta({ description: "epochs between which σ changes (default: from the end of the warm-up to the last)" }),
  }),
  ...grouped("Evaluation and files", {
    evaluateEvery: amount("epochs between evaluations", "epochs").default(1),
    checkpointEvery: amount("epochs between checkpoints", "epochs").default(1),
    limit: count(`${items} to evaluate on, from the start of each split (default: all)`, items).optional(),
    seed: z.int().min(0).default(1111).meta({ description: "random seed" }),

    keepModels: z.boolean().default(true).meta({
      description: "keep the models of --compare on disk when they have been measured",
    }),
    run: text("run folder (default: runs/<recipe>-<structure>)").optional(),
    fresh: z.boolean().default(false).meta({ description: "delete the contents of the run folder and start over" }),
    tensorboard: text("folder for event files of TensorBoard, in a folder with the name of the run").optional(),
    push: text("repository to push the model to, owner/name").optional(),
    private: z.boolean().default(false).meta({ description: "make the repository private, if --push creates it" }),
  }),
});

const anyExperiment = z.object(experimentShape("items"));
/** The settings that experiments of every kind have. The schema has their units and defaults. */
export type ExperimentSettings = z.output<typeof anyExperiment>;
