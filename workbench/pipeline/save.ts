// The card of a model folder, with the picture of its blocks: README.md and structure.png. What lies beside them in the
// folder is looked up; everything else that the card says is the caller's to know.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type CardFacts, modelCard, parseCardMetadata } from "../../hub/card/index.ts";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { readConfig } from "../models/folder/load.ts";
import { describeModel, structurePicture } from "../report/index.ts";
import { renderPng } from "../report/pictures/png.ts";

export const PICTURE = "structure.png";

/** A card that somebody else wrote is left as it is. @returns whether there is a picture: only GBLR layers have one */
export async function writeCard(
  folder: string,
  facts: Omit<CardFacts, "hasPicture" | "hasPython" | "hasTransformers" | "hasProcessor" | "hasTrainable">,
): Promise<boolean> {
  const svg = structurePicture(await describeModel(folder), facts.repository ?? facts.title);
  if (svg !== undefined) await writeFileAtomically(join(folder, PICTURE), await renderPng(svg));
  const names = await readdir(folder);
  const hasPython = names.includes("modeling_gblr.py");
  const beside = {
    hasPicture: svg !== undefined,
    hasPython,
    ...(hasPython && { hasTransformers: (await readConfig(folder)).json.auto_map !== undefined }),
    hasProcessor: names.includes("preprocessor_config.json"),
    hasTrainable: names.includes("trainable.safetensors"),
  };
  const card = join(folder, "README.md");
  const before = await readFile(card, "utf8").catch(() => undefined);
  if (before === undefined || isOurs(before)) await writeFileAtomically(card, modelCard({ ...facts, ...beside }));
  return svg !== undefined;
}

const isOurs = (card: string): boolean => parseCardMetadata(card).tags?.includes("gblr") === true;
