// What the card of a converted model can say: where it is from, what was done to it, by which command. It has not been
// measured on any data.

import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type CardFacts, parseCardMetadata } from "../../../hub/card/index.ts";
import type { Located } from "../../../hub/pull/locate.ts";
import type { Conversion } from "../../compress/index.ts";
import type { Engine } from "../../engine/core/types.ts";
import { isClassifier, type Model } from "../../models/index.ts";
import { commandLine, versionsOf } from "../shared/versions.ts";

export interface CardOptions {
  source: Located;
  /** the model folder, which gives the card its title */
  out: string;
  engine: Engine;
  seed: number;
}

export async function cardFacts(
  model: Model,
  { structure, counts }: Conversion,
  { source, out, engine, seed }: CardOptions,
): Promise<CardFacts> {
  const readme = await readFile(join(source.folder, "README.md"), "utf8").catch(() => "");
  return {
    title: basename(resolve(out)),
    task: isClassifier(model) ? "image-classification" : "text-generation",
    structure,
    ...(source.repo !== undefined && { baseModel: source.repo }),
    ...(source.commit !== undefined && { baseRevision: source.commit }),
    base: parseCardMetadata(readme),
    relativeFlops: { reference: counts.reference.relative, actual: counts.actual.relative },
    command: commandLine(),
    versions: versionsOf(engine),
    engine: engine.name,
    device: engine.device,
    precision: engine.precision,
    seed,
  };
}
