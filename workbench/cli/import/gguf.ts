// The part of `gblr import` that makes a model folder from a GGUF file. It pulls a file that is on the Hub, shows the
// progress and prints the summary.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { partsOf } from "../../../hub/gguf/index.ts";
import { countOf } from "../../../hub/text/numbers.ts";
import { type ImportedGguf, type ImportGgufOptions, importGguf } from "../../models/weights/index.ts";
import { pullWithProgress, repoNamed } from "../pull.ts";
import { withHub } from "../shared/hub-access.ts";
import { interruptible } from "../shared/program.ts";
import { expectPlaceForModel } from "../shared/stages.ts";
import { formatBytes, type Palette } from "../shared/terminal.ts";
import { copyWithProgress } from "./progress.ts";

interface GgufSummary {
  file: string;
  out: string;
  /** `model_type` */
  type: string;
  /** name that the file gives the model */
  name?: string;
  /** number of tensors that were written */
  tensors: number;
  /** size of all tensors that were written */
  bytes: number;
  /** type of the weights that were written, as in config.json */
  dtype: string;
  /** types of the tensors in the file, with their numbers */
  types: Record<string, number>;
  /** names of the files in the folder */
  files: string[];
}

/** owner/name[@revision]/path of a file on the Hub. */
const ON_HUB = /^([\w.-]+\/[\w.-]+(?:@[^/]+)?)\/((?!\.).+)$/;

/**
 * The path of a GGUF file. If it is not on the disk and has the form owner/name/file.gguf, it is pulled from the Hub,
 * with the other files of a model that has several.
 */
export async function localGguf(file: string, { json = false }: { json?: boolean }): Promise<string> {
  const [, name = "", path = ""] = ON_HUB.exec(file) ?? [];
  // If the folder of the path is on the disk, the name does not mean a repository, and the file is missing.
  if (name === "" || existsSync(file) || existsSync(dirname(name))) return file;
  const repo = repoNamed(name, "model");
  const { folder } = await withHub(process.env, (access) =>
    interruptible("interrupted; downloaded data is kept: run the same command again to resume", (signal) =>
      pullWithProgress(repo, access, { include: partsOf(path), signal, json }),
    ),
  );
  return join(folder, path);
}

/** Imports a GGUF file with a progress bar. @returns facts for the summary */
export async function importGgufWithProgress(
  file: string,
  { force, ...options }: ImportGgufOptions & { force: boolean },
): Promise<GgufSummary> {
  await expectPlaceForModel(options.out, { force });
  const { imported, size } = await copyWithProgress(importGguf(file, options), file);
  return { file, out: options.out, ...described(imported), ...size };
}

function described({ model: { name }, config, types, files }: ImportedGguf) {
  const { model_type: type, dtype } = config as { model_type: string; dtype: string };
  return { type, ...(name !== undefined && { name }), dtype, types, files };
}

/** The summary of an import from GGUF as text. */
export function printGgufSummary(
  { file, out, type, name, tensors, bytes, dtype, types, files }: GgufSummary,
  palette: Palette,
): string {
  const stored = Object.entries(types).map(([each, count]) => `${count} ${each}`);
  return [
    palette.bold(`${file} → ${out}`),
    `  ${name === undefined ? type : `${name} (${type})`}: ${countOf(tensors, "tensor")}, ${formatBytes(bytes)} of ${dtype}`,
    `  ${palette.dim("read")} ${stored.join(", ")}`,
    `  ${palette.dim("written")} ${files.join(", ")}`,
  ].join("\n");
}
