// The experiment that this project is for, from Hub to Hub: a language model and a text are fetched, the model is
// measured, compressed, fine-tuned, measured again, and saved with its card and report; rivals are treated alike beside
// it. Which model and which text are settings.

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Gpt2, loadModelNow } from "../models/index.ts";
import { readConfig } from "../models/load.ts";
import { startRun, updateRun, writeReport } from "../report/index.ts";
import { compressVariant, MODEL, type Splits, type VariantOptions } from "./compress-variant.ts";
import type { ExperimentContext } from "./context.ts";
import type { ExperimentEvent } from "./events.ts";
import type { LanguageSettings } from "./language-settings.ts";
import { measure } from "./measure.ts";
import { publish } from "./publish.ts";
import { expectSameSettings } from "./run-settings.ts";
import { RunTable } from "./run-table.ts";
import { SettingsError } from "./settings-error.ts";
import { locateModel, locateText, type Source } from "./sources.ts";
import { firstWindows, openTexts, type Texts } from "./texts.ts";
import { asItIs, parseVariant, titleOf, type Variant, variantOf } from "./variants.ts";

/**
 * @param folder of the run: made if it is not there, gone on with if it is
 * @throws SettingsError before any work; whatever the stages throw, after which the same call goes on
 */
export async function* languageExperiment(
  settings: LanguageSettings,
  context: ExperimentContext,
  folder: string,
): AsyncGenerator<ExperimentEvent> {
  const main = variantOf({ ...settings, allocation: settings.allocate });
  const rivals = settings.compare.map(parseVariant);
  checkSettings(settings, [main, ...rivals]);
  if (settings.fresh) await rm(folder, { recursive: true, force: true });
  await expectSameSettings(folder, settings);
  await mkdir(folder, { recursive: true });
  try {
    yield* stages(settings, { context, folder, main, rivals });
  } catch (error) {
    const interrupted = context.signal.aborted;
    const told = error instanceof Error ? error.message : String(error);
    await updateRun(folder, interrupted ? { status: "interrupted" } : { status: "failed", error: told }).catch(
      () => {},
    );
    await writeReport(folder).catch(() => {});
    if (!interrupted) throw error;
    yield { kind: "interrupted", folder };
  }
}

interface Plan {
  context: ExperimentContext;
  folder: string;
  main: Variant;
  rivals: readonly Variant[];
}

async function* stages(settings: LanguageSettings, plan: Plan): AsyncGenerator<ExperimentEvent> {
  const { context, folder, rivals } = plan;
  const sources = yield* fetched(settings, context);
  const main = plan.main.converts ? plan.main : asItIs(await structureOf(sources.model));
  await begin(folder, main, { settings, context, ...sources });
  const texts = await openTexts({
    dataset: sources.text.folder,
    tokenizer: sources.model.folder,
    config: settings.config,
    column: settings.column,
    context: settings.context,
    cache: context.tokens,
    signal: context.signal,
  });
  try {
    const splits = yield* splitsOf(texts, settings);
    const table = await RunTable.open(folder);
    const shared = { settings, context, source: sources.model, splits };
    yield* measureBase({ ...shared, table });
    for (const variant of rivals) {
      const own = join(folder, "compare", variant.key);
      await begin(own, variant, { settings, context, ...sources });
      const ended = yield* compressVariant({ ...shared, variant, folder: own, table });
      if (!ended) return yield* interrupted(own, folder);
      await finish(own);
    }
    const ended = yield* compressVariant({ ...shared, variant: main, folder, table });
    if (!ended) return yield* interrupted(folder);
    const pushed = yield* publish({ ...shared, variant: main, folder, table, text: sources.text });
    await finish(folder);
    const model = join(folder, MODEL);
    yield { kind: "finished", folder, model, rows: table.rows, ...(pushed !== undefined && { pushed }) };
  } finally {
    await texts.close();
  }
}

interface Sources {
  model: Source;
  text: Source;
}

async function* fetched(
  settings: LanguageSettings,
  context: ExperimentContext,
): AsyncGenerator<ExperimentEvent, Sources> {
  yield { kind: "stage", stage: "fetch" };
  const { trainSplit, validationSplit, testSplit, config } = settings;
  const model = yield* locateModel(settings.model, context);
  const splits = [trainSplit, validationSplit, testSplit];
  const text = yield* locateText({ name: settings.dataset, config, splits }, context);
  return { model, text };
}

async function begin(
  folder: string,
  variant: Variant,
  { settings, context, model, text }: Sources & { settings: LanguageSettings; context: ExperimentContext },
): Promise<void> {
  const { engine, recipe, command, versions } = context;
  const nameOf = ({ name, revision }: Source) => ({ name: name.replace(/@.*$/, ""), ...(revision && { revision }) });
  await startRun(folder, {
    name: `${settings.model.replace(/@.*$/, "")}, ${variant.title}`,
    recipe,
    command,
    task: "text-generation",
    settings: JSON.parse(JSON.stringify(settings)),
    versions: { ...versions },
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    seed: settings.seed,
    model: nameOf(model),
    dataset: { ...nameOf(text), ...(settings.config !== undefined && { config: settings.config }) },
    comparisonSplit: settings.testSplit,
  });
  await writeReport(folder);
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

async function* splitsOf(texts: Texts, settings: LanguageSettings): AsyncGenerator<ExperimentEvent, Splits> {
  yield { kind: "stage", stage: "tokenise" };
  const train = firstWindows(yield* texts.windows(settings.trainSplit), settings.trainLimit);
  const validation = firstWindows(yield* texts.windows(settings.validationSplit), settings.limit);
  const test = firstWindows(yield* texts.windows(settings.testSplit), settings.limit);
  for (const [split, windows] of Object.entries({ [settings.trainSplit]: train, [settings.testSplit]: test })) {
    if (windows.length > 0) continue;
    throw new SettingsError(
      `${settings.dataset}: split ${split} has no window of ${settings.context} tokens; shorten --context`,
    );
  }
  return { train, validation: validation.length > 0 ? validation : test, test };
}

async function* measureBase({
  source,
  splits,
  context,
  table,
}: Pick<VariantOptions, "source" | "splits" | "context" | "table">): AsyncGenerator<ExperimentEvent> {
  const structure = await structureOf(source);
  const name = titleOf(structure);
  const known = table.find(name, "before");
  yield { kind: "stage", stage: "measure", of: "the model as it is", done: known !== undefined };
  if (known) return;
  const model = (await loadModelNow(source.folder)) as Gpt2;
  try {
    expectContext(model, splits);
    const measured = yield* measure(model, { windows: splits.test, signal: context.signal, folder: source.folder });
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

function expectContext({ config }: Gpt2, { test }: Splits): void {
  if (test.context <= config.positions) return;
  throw new SettingsError(`--context ${test.context} is longer than the model's ${config.positions} positions`);
}

/** Everything that can be checked before an hour is spent. */
function checkSettings(settings: LanguageSettings, variants: readonly Variant[]): void {
  const { budget, flops, startCost, shrink, sigma, epochs, warmupEpochs, steps } = settings;
  const problems: string[] = [];
  if (budget !== undefined && flops !== undefined) problems.push("--budget and --flops contradict; choose one");
  if (startCost !== undefined && shrink !== "budget") problems.push("--start-cost needs --shrink budget");
  if (startCost !== undefined && budget !== undefined && startCost < budget) {
    problems.push(`--start-cost ${startCost} is below --budget ${budget}`);
  }
  if (steps === undefined && warmupEpochs > epochs) {
    problems.push(`--warmup-epochs ${warmupEpochs} is longer than --epochs ${epochs}`);
  }
  if (sigma && (sigma[0] as number) > (sigma[1] as number)) problems.push(`--sigma ${sigma} falls; it has to rise`);
  const titles = variants.map(({ title }) => title);
  const twice = titles.find((title, i) => titles.indexOf(title) !== i);
  if (twice) problems.push(`${twice} is compared with itself; leave it out of --compare`);
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
}
