// Runs an experiment: fetches a model and a data set; measures the model, compresses it, fine-tunes it and measures it
// again; saves it with its card and report; and pushes it to the Hub. The variants with which it is compared go through
// the same stages. Each stage writes its result to the run folder and is skipped if the result exists, so an
// interrupted run resumes where it stopped. The settings choose the model and the data; the domain handles the kind of
// data.

import { dirname, join, relative, resolve } from "node:path";
import { parseRepoName, RepoNameError } from "../../hub/access/repository.ts";
import { structureTitle } from "../../hub/model-folder/index.ts";
import { isFirst, StoppedError } from "../distributed/process-group.ts";
import { together } from "../distributed/shares.ts";
import { makeRunFolder, type RunRecord, readRun, startRun, updateRun, writeReport } from "../report/index.ts";
import { expectLora } from "../train/index.ts";
import { CalibrationCache } from "./calibration/cache.ts";
import { compressVariant, type Shared } from "./compress-variant.ts";
import type { Domain, Sources } from "./domains/domain.ts";
import { baseName, fetchModel, type Source, structureOf } from "./fetch.ts";
import { BaseModel } from "./load.ts";
import { measure } from "./measure.ts";
import { expectPlans } from "./plan.ts";
import { type PublishOptions, publish } from "./publish.ts";
import { follow } from "./ranks/follow.ts";
import { announce, dismiss, type Ending } from "./ranks/orders.ts";
import { dataFacts, engineFacts, modelFacts } from "./results/source-facts.ts";
import { claim, clear, expectSameSettings, isRun, RunTable } from "./run-folder.ts";
import type { ExperimentSettings } from "./settings.ts";
import { type ExperimentContext, type PipelineEvent, SettingsError } from "./stage.ts";
import { loraOf } from "./train.ts";
import {
  asItIs,
  identityOf,
  parseVariant,
  settingsOf,
  type Variant,
  variantOf,
  variantsToTrain,
  withTitles,
} from "./variants.ts";

/**
 * Runs an experiment.
 * @param folder run folder: created if it does not exist, resumed if it does
 * @throws SettingsError before any work if settings are invalid. An error of a stage is thrown too; the same call then
 * resumes the run
 */
export async function* experiment<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  settings: Settings,
  { context, folder }: { context: ExperimentContext; folder: string },
): AsyncGenerator<PipelineEvent> {
  const named = [variantOf({ ...settings, allocation: settings.allocate }), ...settings.compare.map(parseVariant)];
  const [main, ...rivals] = withTitles(named, settings) as [Variant, ...Variant[]];
  checkSettings(settings, [main, ...rivals]);
  checkPush(settings, context);
  domain.check(settings);
  const trained = new Set(variantsToTrain([main, ...rivals], settings.fineTune));
  const run: Run = { context, folder, main, rivals, trained };
  const { ranks } = context;
  let ending: Ending = {};
  try {
    yield* stages(domain, settings, run);
  } catch (error) {
    const interrupted = context.signal.aborted || error instanceof StoppedError;
    ending = interrupted ? { stopped: true } : { failure: (error as Error).message };
    if (run.release) await recordFailure(folder, interrupted ? undefined : error);
    if (!interrupted) throw error;
    yield { kind: "interrupted", folder };
  } finally {
    await run.release?.();
    if (ranks?.rank === 0) await dismiss(ranks, ending).catch(() => {});
  }
}

interface Run {
  context: ExperimentContext;
  folder: string;
  main: Variant;
  rivals: readonly Variant[];
  /** those of them that are trained after their conversion */
  trained: ReadonlySet<Variant>;
  /** unlocks the run folder; undefined as long as this process has not locked it */
  release?: () => Promise<void>;
}

/** Checks that the run folder is one of these settings, and fetches all that the experiment reads. */
async function* fetched<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  settings: Settings,
  { context, folder }: Run,
) {
  if (isFirst(context.ranks)) await expectSameSettings(folder, settings, domain.schema);
  yield { kind: "stage", stage: "fetch" } satisfies PipelineEvent;
  const sources = yield* domain.fetch(settings, context);
  return { sources, teacher: yield* teacherOf(settings, { source: sources.model, context }) };
}

async function* stages<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  settings: Settings,
  run: Run,
): AsyncGenerator<PipelineEvent> {
  const { context, folder, rivals, trained } = run;
  const { sources, teacher } = yield* together("the start", fetched(domain, settings, run), context);
  const source = sources.model;
  const main = run.main.converts ? run.main : asItIs(await structureOf(source));
  const variants = [...rivals, main];
  const beginning = { settings, context, task: domain.task, ...sources };
  const data = yield* domain.open(settings, sources, context);
  const base = new BaseModel(source, { form: variants.every(({ converts }) => converts) ? "auto" : "trainable" });
  try {
    const { ranks } = context;
    const { name, revision } = source;
    const identity = { name, revision, engine: context.engine.name };
    const cache = new CalibrationCache(join(folder, "calibration"), identity, { ranks });
    if (ranks && !isFirst(ranks)) {
      const own = variants.map((variant) => ({ variant, folder: folderOf(variant, run) }));
      return yield* follow({ ranks, variants: own, settings, context, base, teacher, data, cache });
    }
    // Budgets that the model cannot meet are refused before the folder is created or an earlier run in it is deleted.
    if (settings.fresh || !(await isRun(folder))) {
      await expectPlans(yield* base.model(), variants, settings);
      const lora = loraOf(settings);
      if (lora) expectLora(yield* base.model(), lora);
    }
    run.release = await claim(folder);
    if (settings.fresh) await clear(folder);
    if (settings.tensorboard !== undefined) await makeRunFolder(settings.tensorboard);
    await begin(folder, main, beginning);
    const table = await RunTable.open(folder, variants);
    const shared = { settings, context, base, teacher, data, table, cache };
    const boardOf = (own: string) => boardFolder(settings, { run: folder, own });
    yield* measureBase(shared);
    for (const variant of rivals) {
      const own = folderOf(variant, run);
      await begin(own, variant, beginning);
      const isTrained = trained.has(variant);
      const result = yield* compressVariant({
        ...shared,
        variant,
        folder: own,
        board: boardOf(own),
        isLast: false,
        isTrained,
      });
      if (!result) return yield* interrupted(own, folder);
      await finish(own);
    }
    const isTrained = trained.has(run.main);
    const result = yield* compressVariant({
      ...shared,
      variant: main,
      folder,
      board: boardOf(folder),
      isLast: true,
      isTrained,
    });
    if (!result) return yield* interrupted(folder);
    const task = { task: domain.task, metrics: domain.metrics(result.row, settings) };
    const published = {
      ...task,
      ...result,
      source,
      dataset: sources.data,
      contextLength: domain.contextOf?.(settings),
    };
    await cache.remove();
    yield* conclude(main, { ...shared, folder, published });
  } finally {
    base.dispose();
    await data.close();
  }
}

/** The run folder of a variant. */
const folderOf = (variant: Variant, { folder, rivals }: Run): string =>
  rivals.includes(variant) ? join(folder, "compare", variant.key) : folder;

/** The folder of a variant's event files: they are arranged as the run folders. */
function boardFolder({ tensorboard }: ExperimentSettings, { run, own }: { run: string; own: string }) {
  return tensorboard && join(tensorboard, relative(dirname(resolve(run)), resolve(own)));
}

/**
 * The origin of the teacher of a distillation; undefined if there is none, or the base model teaches as it is in memory.
 */
async function* teacherOf(
  { distill, teacher, teacherDtype }: ExperimentSettings,
  { source, context }: { source: Source; context: ExperimentContext },
): AsyncGenerator<PipelineEvent, Source | undefined> {
  if (distill === 0) return undefined;
  if (teacher !== undefined) return yield* fetchModel(teacher, context);
  return teacherDtype === undefined ? undefined : source;
}

interface Conclusion extends Pick<Shared, "settings" | "context" | "table"> {
  folder: string;
  published: Omit<PublishOptions, "folder" | "variant" | "settings" | "context" | "rows">;
}

/** Publishes the model of the main variant and ends the run. */
async function* conclude(
  variant: Variant,
  { settings, context, table: { rows }, folder, published }: Conclusion,
): AsyncGenerator<PipelineEvent> {
  const { model } = published;
  const pushed = yield* publish({ folder, variant, settings, context, rows, ...published });
  await finish(folder);
  yield { kind: "finished", folder, model, rows, ...(pushed !== undefined && { pushed }) };
}

/** Adds the first row of the table, the base model, unless an earlier process has measured it. */
async function* measureBase({ base, data, context, table }: Shared): AsyncGenerator<PipelineEvent> {
  const { source } = base;
  const structure = await structureOf(source);
  const name = source.untrained ? `${structureTitle(structure)}, untrained` : structureTitle(structure);
  const known = table.find({ name }, "before");
  yield { kind: "stage", stage: "measure", of: "the base model", done: known !== undefined };
  if (known) return;
  const onDisk = source.head === undefined && { folder: source.folder };
  const { signal, ranks } = context;
  await announce(ranks, { score: null });
  const measured = yield* measure(yield* base.model(), { data, signal, ranks, ...onDisk });
  yield* table.add({ name, structure, stage: "before", ...measured });
}

interface Beginning extends Sources {
  settings: ExperimentSettings;
  context: ExperimentContext;
  task: RunRecord["task"];
}

async function begin(
  folder: string,
  variant: Variant,
  { settings, context, task, model, data }: Beginning,
): Promise<void> {
  const { recipe, command, versions } = context;
  const before = (await readRun(folder).catch(() => undefined))?.record;
  await startRun(folder, {
    name: `${baseName(model)}, ${variant.title}`,
    recipe,
    command,
    task,
    settings: JSON.parse(JSON.stringify(settingsOf(variant, settings))),
    versions: { ...versions },
    ...engineFacts(context),
    seed: settings.seed,
    model: await modelFacts(model),
    dataset: dataFacts(data, settings.config),
    comparisonSplit: settings.testSplit,
    ...(before?.targetCost !== undefined && { targetCost: before.targetCost }),
  });
  await writeReport(folder);
}

/**
 * Records that a run has failed or was interrupted. Errors while recording are ignored, so that they do not hide the
 * first one.
 * @param error undefined if the run was interrupted
 */
async function recordFailure(folder: string, error: unknown): Promise<void> {
  const told = error instanceof Error ? error.message : String(error);
  const status = error === undefined ? { status: "interrupted" as const } : { status: "failed" as const, error: told };
  await updateRun(folder, status).catch(() => {});
  await writeReport(folder).catch(() => {});
}

async function finish(folder: string): Promise<void> {
  await updateRun(folder, { status: "finished" });
  await writeReport(folder);
}

async function* interrupted(...folders: [string, ...string[]]): AsyncGenerator<PipelineEvent> {
  for (const folder of folders) {
    await updateRun(folder, { status: "interrupted" });
    await writeReport(folder);
  }
  yield { kind: "interrupted", folder: folders.at(-1) as string };
}

/** Checks, before any work, the name of the repository and that there is a token. */
function checkPush({ push }: ExperimentSettings, { access }: ExperimentContext): void {
  if (push === undefined) return;
  try {
    parseRepoName(push, "model");
  } catch (error) {
    throw error instanceof RepoNameError ? new SettingsError(`--push ${error.message}`) : error;
  }
  if (access.offline) throw new SettingsError("--push and --offline contradict each other; choose one");
  if (access.token === undefined) {
    throw new SettingsError(`--push ${push} needs a token with write access; set HF_TOKEN`);
  }
}

/** Checks, before any work, for settings that contradict each other. */
function checkSettings(settings: ExperimentSettings, variants: readonly Variant[]): void {
  const { budget, flops, sigma, epochs, warmupEpochs, warmupSteps, steps } = settings;
  const problems: string[] = [];
  if (budget !== undefined && flops !== undefined) {
    problems.push("--budget and --flops contradict each other; choose one");
  }
  problems.push(...shrinkProblems(settings, variants), ...recoveryProblems(settings, variants));
  if (steps === undefined && warmupSteps === undefined && warmupEpochs > epochs) {
    problems.push(`--warmup-epochs ${warmupEpochs} is longer than --epochs ${epochs}; give a shorter warm-up`);
  }
  if (settings.quantum !== undefined && settings.init !== "search") problems.push("--quantum needs --init search");
  if (settings.blockRank !== undefined && settings.init !== "search") problems.push("--block-rank needs --init search");
  if (settings.stableBlocks && settings.init !== "search") problems.push("--stable-blocks needs --init search");
  if (sigma && (sigma[0] as number) > (sigma[1] as number)) {
    problems.push(`--sigma ${sigma} decreases; give the smaller value first`);
  }
  const identities = variants.map(identityOf);
  const twice = identities.find((identity, i) => identities.indexOf(identity) !== i);
  if (twice) problems.push(`${twice} would be compared with itself; leave it out of --compare`);
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
}

/** The shrink rules of all variants, each once: that of the settings, and those that variants have for themselves. */
const rulesOf = (settings: ExperimentSettings, variants: readonly Variant[]): ExperimentSettings["shrink"][] => [
  ...new Set(variants.map((variant) => settingsOf(variant, settings).shrink)),
];

/** Whether a shrink rule is soft shrinkage, which needs a threshold. */
const isSoft = (rule: ExperimentSettings["shrink"]): boolean => ["soft", "targeted", "adaptive"].includes(rule);

/** Settings that do not fit the shrink rules. */
function shrinkProblems(settings: ExperimentSettings, variants: readonly Variant[]): string[] {
  const { startCost, threshold, approach, freeze, startThreshold } = settings;
  const problems: string[] = [];
  const rules = rulesOf(settings, variants);
  const soft = rules.filter(isSoft);
  if (startCost !== undefined && !rules.includes("budget")) problems.push("--start-cost needs --shrink budget");
  const budgets = variants.map((variant) => settingsOf(variant, settings).budget ?? 0);
  const largest = Math.max(...budgets);
  if (startCost !== undefined && startCost < largest) {
    problems.push(`--start-cost ${startCost} is below --budget ${largest}; give at least the budget`);
  }
  if (threshold === undefined) problems.push(...soft.map((rule) => `--shrink ${rule} needs --threshold`));
  else if (soft.length === 0) problems.push("--threshold needs --shrink soft, targeted or adaptive");
  if (approach !== undefined && !rules.includes("targeted") && !rules.includes("adaptive")) {
    problems.push("--approach needs --shrink targeted or adaptive");
  }
  if (startThreshold !== undefined && !rules.includes("adaptive")) {
    problems.push("--start-threshold needs --shrink adaptive");
  }
  if (freeze && !rules.includes("targeted")) problems.push("--freeze needs --shrink targeted");
  return problems;
}

/** Settings that do not fit adapters or distillation. */
function recoveryProblems(settings: ExperimentSettings, variants: readonly Variant[]): string[] {
  const { lora, loraAlpha, loraLayers, loraFull, target, startCost, distill, teacher, teacherDtype } = settings;
  const given = (flags: Record<string, unknown>) => Object.keys(flags).filter((flag) => flags[flag] !== undefined);
  const adapters = given({ "--lora-alpha": loraAlpha, "--lora-layers": loraLayers, "--lora-full": loraFull });
  const teaching = given({ "--teacher": teacher, "--teacher-dtype": teacherDtype });
  const soft = rulesOf(settings, variants).filter(isSoft);
  const changing = [
    ...soft.map((rule) => `--shrink ${rule}`),
    ...given({ "--target": target, "--start-cost": startCost }),
  ];
  return [
    ...(lora === undefined ? adapters.map((flag) => `${flag} needs --lora`) : []),
    ...(distill === 0 ? teaching.map((flag) => `${flag} needs --distill`) : []),
    ...(lora === undefined
      ? []
      : changing.map((flag) => `${flag} changes widths, which --lora keeps; give one of them`)),
  ];
}
