// The part of `gblr export` for model folders in another number type than float32: what is measured of the model before the
// export and of the stored one after it, and the card of the folder.

import { basename, resolve } from "node:path";
import type { CardFacts } from "../../../hub/card/index.ts";
import { openModel } from "../../../hub/model-folder/index.ts";
import { modelCounts } from "../../models/counts.ts";
import type { Model, SavedType } from "../../models/index.ts";
import { type OpenCheck, openCheck } from "../../pipeline/check/open-check.ts";
import type { Scored } from "../../pipeline/domains/domain.ts";
import { type Source, structureOf } from "../../pipeline/fetch.ts";
import { load } from "../../pipeline/load.ts";
import { sizeOnDisk, sizeWhenSaved } from "../../pipeline/measure.ts";
import { originFacts, PICTURE, writeCard } from "../../pipeline/save.ts";
import type { Origin, PipelineEvent, StageContext } from "../../pipeline/stage.ts";
import { type CheckFlags, checkSettingsOf, comparedLine, dataOf } from "../shared/check-data.ts";

/** What is known before the export. Its check must be closed. */
export interface BeforeExport {
  /** of the files with weights; of a cut, those it would have in float32 */
  bytes: number;
  facts: Omit<CardFacts, "title" | "structure">;
  check: OpenCheck | undefined;
  /** of the model as it is, with --check */
  score: Scored | undefined;
}

interface Opened {
  model: Model;
  source: Source;
  origin: Origin;
  context: StageContext;
}

/**
 * Collects what the card says about the model before the export, which may replace it, and measures it with --check.
 * @throws DataError, SettingsError or StageError if the data of --check does not exist or fit the model
 */
export async function* beforeExport(
  flags: CheckFlags & { keep?: number | undefined },
  { model, source, origin, context }: Opened,
): AsyncGenerator<PipelineEvent, BeforeExport> {
  const { reference, actual } = await modelCounts(model);
  const facts = {
    task: model.architecture.task.kind,
    ...(await originFacts(source, origin)),
    relativeFlops: { reference: reference.relative, actual: actual.relative },
  };
  // The folder of a cut model has all sizes, and what is measured is the cut.
  const { fileBytes: bytes } = flags.keep === undefined ? await sizeOnDisk(source.folder) : await sizeWhenSaved(model);
  const settings = checkSettingsOf(flags);
  if (!settings) return { bytes, facts, check: undefined, score: undefined };
  const check = yield* openCheck(settings, { model, source, context });
  try {
    yield { kind: "stage", stage: "check", of: "the model before the export" };
    return { bytes, facts, check, score: yield* check.score(model, context.signal) };
  } catch (error) {
    await check.close();
    throw error;
  }
}

interface Written {
  out: string;
  dtype: SavedType;
  /** layers that are in float32 all the same */
  exact: readonly string[];
  signal: AbortSignal;
}

/** What was stored. */
export interface Stored {
  /** files with weights, before and after */
  fileBytes: { before: number; after: number };
  /** what was measured with --check, and as a line of text */
  check?: { dataset: string; metric: string; before: number; after: number; text: string };
  /** names of the files that were written here */
  files: string[];
}

/** Measures the stored model with --check, and writes the card of its folder. */
export async function* afterExport(
  { bytes: before, facts, check, score }: BeforeExport,
  { out, dtype, exact, signal }: Written,
): AsyncGenerator<PipelineEvent, Stored> {
  const { fileBytes: after } = await sizeOnDisk(out);
  const checked = check && score && (yield* checkStored(out, { check, score, signal }));
  const structure = await structureOf({ name: out, folder: out });
  const sizes = await sizesIn(out);
  const fileBytes = { before, after };
  const measured = checked && { ...checked, on: checked.dataset };
  const hasPicture = await writeCard(out, {
    ...facts,
    title: basename(resolve(out)),
    structure,
    ...(sizes && { sizes: { range: sizes } }),
    storage: { dtype, bytes: fileBytes, exact: exact.length, ...(measured && { measured }) },
  });
  return { fileBytes, ...(checked && { check: checked }), files: ["README.md", ...(hasPicture ? [PICTURE] : [])] };
}

interface Checking {
  check: OpenCheck;
  score: Scored;
  signal: AbortSignal;
}

async function* checkStored(
  folder: string,
  { check, score, signal }: Checking,
): AsyncGenerator<PipelineEvent, NonNullable<Stored["check"]>> {
  const model = yield* load(folder);
  try {
    yield { kind: "stage", stage: "check", of: "the stored model" };
    const stored = yield* check.score(model, signal);
    const { metric } = check.measure;
    const [before, after] = [score, stored].map(({ metrics }) => metrics[metric] as number) as [number, number];
    return { dataset: dataOf(check), metric, before, after, text: comparedLine(check, score, stored) };
  } finally {
    model.dispose();
  }
}

/** The range of sizes to which the model of a folder can be cut. */
async function sizesIn(folder: string): Promise<readonly [number, number] | undefined> {
  const { config, tensors } = await openModel(folder);
  await tensors.close();
  return config?.sizes;
}
