// The experiment that this project is for, from Hub to Hub: a model and a data set are fetched, the model is measured,
// compressed, fine-tuned, measured again, and saved with its card and report; rivals are treated alike beside it. Which
// model and which data are settings; what kind of data is the domain's.

import { join } from "node:path";
import { parseRepoName, RepoNameError } from "../../hub/access/repository.ts";
import { readConfig } from "../models/folder/load.ts";
import { type RunRecord, readRun, startRun, updateRun, writeReport } from "../report/index.ts";
import { compressVariant, MODEL, type VariantOptions } from "./convert.ts";
import type { Domain, Sources } from "./domains/domain.ts";
import { baseName, loadSource, type Source } from "./fetch.ts";
import { measure } from "./measure.ts";
import { expectPlans } from "./plan.ts";
import { publish } from "./publish.ts";
import { claim, clear, expectSameSettings, isRun, RunTable } from "./run-folder.ts";
import type { ExperimentSettings } from "./settings.ts";
import { SettingsError } from "./settings.ts";
import type { ExperimentContext, ExperimentEvent } from "./stage.ts";
import { asItIs, parseVariant, titleOf, type Variant, variantOf } from "./variants.ts";

/**
 * @param folder of the run: made if it is not there, gone on with if it is
 * @throws SettingsError before any work; whatever the stages throw, after which the same call goes on
 */
export async function* experiment<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  settings: Settings,
  { context, folder }: { context: ExperimentContext; folder: string },
): AsyncGenerator<ExperimentEvent> {
  const main = variantOf({ ...settings, allocation: settings.allocate });
  const rivals = settings.compare.map(parseVariant);
  checkSettings(settings, [main, ...rivals]);
  checkPush(settings, context);
  domain.check(settings);
  await expectSameSettings(folder, settings);
  const plan: Plan = { context, folder, main, rivals };
  try {
    yield* stages(domain, settings, plan);
  } catch (error) {
    const interrupted = context.signal.aborted;
    if (plan.release) await leaveWord(folder, interrupted ? undefined : error);
    if (!interrupted) throw error;
    yield { kind: "interrupted", folder };
  } finally {
    await plan.release?.();
  }
}

interface Plan {
  context: ExperimentContext;
  folder: string;
  main: Variant;
  rivals: readonly Variant[];
  /** lets another process have the run folder, while this one has it */
  release?: () => Promise<void>;
}

async function* stages<Settings extends ExperimentSettings>(
  domain: Domain<Settings>,
  settings: Settings,
  plan: Plan,
): AsyncGenerator<ExperimentEvent> {
  const { context, folder, rivals } = plan;
  yield { kind: "stage", stage: "fetch" };
  const sources = yield* domain.fetch(settings, context);
  const main = plan.main.converts ? plan.main : asItIs(await structureOf(sources.model));
  const beginning = { settings, context, task: domain.task, ...sources };
  const data = yield* domain.open(settings, sources, context);
  try {
    // Nothing is on the disk, and nothing of an earlier run gone, before it is known that all of it can be meant.
    if (settings.fresh || !(await isRun(folder))) await expectPlans(sources.model, [...rivals, main], settings);
    plan.release = await claim(folder);
    if (settings.fresh) await clear(folder);
    await begin(folder, main, beginning);
    const table = await RunTable.open(folder);
    const shared = { settings, context, source: sources.model, data };
    yield* measureBase({ ...shared, table });
    for (const variant of rivals) {
      const own = join(folder, "compare", variant.key);
      await begin(own, variant, beginning);
      const ended = yield* compressVariant({ ...shared, variant, folder: own, table });
      if (!ended) return yield* interrupted(own, folder);
      await finish(own);
    }
    const ended = yield* compressVariant({ ...shared, variant: main, folder, table });
    if (!ended) return yield* interrupted(folder);
    const card = {
      task: domain.task,
      dataset: sources.data,
      metrics: domain.metrics(ended, settings),
      contextLength: domain.contextOf?.(settings),
    };
    const pushed = yield* publish({ ...shared, variant: main, folder, table, ...card });
    await finish(folder);
    const model = join(folder, MODEL);
    yield { kind: "finished", folder, model, rows: table.rows, ...(pushed !== undefined && { pushed }) };
  } finally {
    await data.close();
  }
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
  const { engine, recipe, command, versions } = context;
  const nameOf = (source: Source) => ({
    name: baseName(source),
    ...(source.revision && { revision: source.revision }),
  });
  const before = (await readRun(folder).catch(() => undefined))?.record;
  await startRun(folder, {
    name: `${baseName(model)}, ${variant.title}`,
    recipe,
    command,
    task,
    settings: JSON.parse(JSON.stringify(settings)),
    versions: { ...versions },
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    seed: settings.seed,
    model: nameOf(model),
    dataset: { ...nameOf(data), ...(settings.config !== undefined && { config: settings.config }) },
    comparisonSplit: settings.testSplit,
    ...(before?.targetCost !== undefined && { targetCost: before.targetCost }),
  });
  await writeReport(folder);
}

/** How it ended, for those who open the report. What went wrong first is what counts. @param error unless interrupted */
async function leaveWord(folder: string, error: unknown): Promise<void> {
  const told = error instanceof Error ? error.message : String(error);
  const status = error === undefined ? { status: "interrupted" as const } : { status: "failed" as const, error: told };
  await updateRun(folder, status).catch(() => {});
  await writeReport(folder).catch(() => {});
}

async function finish(folder: string): Promise<void> {
  await updateRun(folder, { status: "finished" });
  await writeReport(folder);
}

async function* interrupted(...folders: [string, ...string[]]): AsyncGenerator<ExperimentEvent> {
  for (const folder of folders) {
    await updateRun(folder, { status: "interrupted" });
    await writeReport(folder);
  }
  yield { kind: "interrupted", folder: folders.at(-1) as string };
}

async function* measureBase({
  source,
  data,
  context,
  table,
}: Pick<VariantOptions, "source" | "data" | "context" | "table">): AsyncGenerator<ExperimentEvent> {
  const structure = await structureOf(source);
  const name = source.untrained ? `${titleOf(structure)}, untrained` : titleOf(structure);
  const known = table.find(name, "before");
  yield { kind: "stage", stage: "measure", of: "the model as it is", done: known !== undefined };
  if (known) return;
  const model = await loadSource(source);
  try {
    const onDisk = source.head === undefined && { folder: source.folder };
    const measured = yield* measure(model, { data, signal: context.signal, ...onDisk });
    const row = { name, structure, stage: "before" as const, ...measured };
    await table.put(row);
    yield { kind: "row", row, rows: table.rows };
  } finally {
    model.dispose();
  }
}

/** What most layers of a model folder are. */
async function structureOf({ folder }: Source): Promise<string> {
  const { json } = await readConfig(folder);
  return (json.gblr as { structure?: string } | undefined)?.structure ?? "dense";
}

/** A name or a token that is missing is better missed now than when all is done. */
function checkPush({ push }: ExperimentSettings, { access }: ExperimentContext): void {
  if (push === undefined) return;
  try {
    parseRepoName(push, "model");
  } catch (error) {
    throw error instanceof RepoNameError ? new SettingsError(`--push ${error.message}`) : error;
  }
  if (access.offline) throw new SettingsError("--push and --offline contradict; choose one");
  if (access.token === undefined) throw new SettingsError(`--push ${push} needs a token that may write; set HF_TOKEN`);
}

/** Everything that can be checked before an hour is spent. */
function checkSettings(settings: ExperimentSettings, variants: readonly Variant[]): void {
  const { budget, flops, startCost, shrink, threshold, sigma, epochs, warmupEpochs, warmupSteps, steps } = settings;
  const problems: string[] = [];
  if (budget !== undefined && flops !== undefined) problems.push("--budget and --flops contradict; choose one");
  if (startCost !== undefined && shrink !== "budget") problems.push("--start-cost needs --shrink budget");
  if (startCost !== undefined && budget !== undefined && startCost < budget) {
    problems.push(`--start-cost ${startCost} is below --budget ${budget}`);
  }
  if ((shrink === "targeted" || shrink === "adaptive") !== (threshold !== undefined)) {
    problems.push(`--threshold goes with --shrink targeted and adaptive, and those with it`);
  }
  if (steps === undefined && warmupSteps === undefined && warmupEpochs > epochs) {
    problems.push(`--warmup-epochs ${warmupEpochs} is longer than --epochs ${epochs}`);
  }
  if (sigma && (sigma[0] as number) > (sigma[1] as number)) problems.push(`--sigma ${sigma} falls; it has to rise`);
  const titles = variants.map(({ title }) => title);
  const twice = titles.find((title, i) => titles.indexOf(title) !== i);
  if (twice) problems.push(`${twice} is compared with itself; leave it out of --compare`);
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
}
