// The facts in records of runs about the origin of models, data sets and results: name, revision, configuration, for a
// model that was made from another one its base, and the engine that computed a result.

import { resolve } from "node:path";
import { readConfigFields } from "../../models/folder/load.ts";
import type { RunRecord } from "../../report/index.ts";
import { readResults } from "../../report/results-file.ts";
import { baseName, type Source } from "../fetch.ts";
import type { Origin } from "../stage.ts";

type Repository = NonNullable<RunRecord["model"]>;

const named = (source: Source): Repository => ({
  name: baseName(source),
  ...(source.revision !== undefined && { revision: source.revision }),
});

/** Name and revision of a model, and the model from which it was made, if its folder says so. */
export async function modelFacts(source: Source): Promise<Repository> {
  return { ...named(source), ...(await baseOf(source)) };
}

/** Name, revision and configuration of a data set. */
export const dataFacts = (source: Source, config: string | undefined): Repository => ({
  ...named(source),
  ...(config !== undefined && { config }),
});

/** The engine that computed a result. */
export const engineFacts = ({ engine: { name: engine, device, precision } }: Pick<Origin, "engine">) => ({
  engine,
  device,
  precision,
});

/** The base of a converted model by the results in its folder, or else by its config.json. */
async function baseOf(source: Source): Promise<Pick<Repository, "base" | "baseRevision">> {
  const { folder } = source;
  const made = (await readResults(folder).catch(() => undefined))?.results.model;
  if (made && resolve(made.name) !== resolve(folder)) {
    const { name, revision, base = name, baseRevision = base === name ? revision : undefined } = made;
    return { base, ...(baseRevision !== undefined && { baseRevision }) };
  }
  const fields = await readConfigFields(folder).catch(() => undefined);
  const { gblr } = (fields?.json ?? {}) as { gblr?: { base_model?: unknown } };
  const base = gblr?.base_model;
  return typeof base === "string" && base !== baseName(source) ? { base } : {};
}
