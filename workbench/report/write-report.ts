// Writes the report of a run beside its files: report.html, one file that opens anywhere, at any time of the run.

import { readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { writeFileAtomically } from "../../hub/files/atomic-file.ts";
import { reason } from "../../hub/files/byte-source.ts";
import { reportPage } from "./page/page.ts";
import type { Shown } from "./page/sections.ts";
import { RunError } from "./run-error.ts";
import { RUN_FILES, readRun } from "./run-files.ts";
import { describeModel } from "./structure-picture.ts";

/**
 * Takes the files of the run as they are; what is missing or broken is said in the report.
 * @throws RunError when the folder holds no run, or the report cannot be written
 */
export async function writeReport(folder: string): Promise<void> {
  const file = join(folder, RUN_FILES.report);
  const page = await reportPage(await shownOf(folder), basename(resolve(folder)));
  await writeFileAtomically(file, page).catch((error: unknown) => {
    throw new RunError(`cannot be written: ${reason(error)}`, { file }, { cause: error });
  });
}

async function shownOf(folder: string): Promise<Shown> {
  const run = await readRun(folder);
  const model = join(folder, RUN_FILES.model);
  if (!(await stat(model).catch(() => undefined))) return { run, picture: await pictureIn(folder) };
  try {
    return { run, model: await describeModel(model) };
  } catch (error) {
    // The model of a run that goes on may be half there; the rest of the report is good.
    const problem = error instanceof Error ? error.message : String(error);
    return { run, modelProblem: `The model cannot be read: ${problem}.`, picture: await pictureIn(folder) };
  }
}

const pictureIn = (folder: string): Promise<Uint8Array | undefined> =>
  readFile(join(folder, RUN_FILES.picture)).catch(() => undefined);
