// The stage that writes the adapters of a run as PEFT's files. It finds the run by its folder or by that of its model, and
// refuses runs without adapters, with what can be exported instead.

import { mkdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type StagedFile, stageFile } from "../../../hub/files/atomic-file.ts";
import { isGguf } from "../../../hub/gguf/index.ts";
import { isDense, replaceFiles } from "../../../hub/model-folder/index.ts";
import { stageSafetensors } from "../../../hub/safetensors/index.ts";
import { isZooName } from "../../../hub/zoo/releases.ts";
import { type PeftFiles, peftFiles } from "../../export/peft.ts";
import { readConfig } from "../../models/folder/load.ts";
import { RUN_FILES, type RunRecord, readRunRecord } from "../../report/index.ts";
import { storedAdapters } from "../../train/index.ts";
import { structureOf } from "../fetch.ts";
import type { Saved } from "../save.ts";
import { StageError } from "../stage.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

/**
 * Makes PEFT's files of a run.
 * @param name folder of a run of `gblr finetune --lora`, or of its model
 * @throws StageError when it is no run, has no adapters that PEFT can hold, or has not ended; RunError when its checkpoint
 *   cannot be read
 */
export async function peftOfRun(name: string): Promise<PeftFiles> {
  const { folder, record } = await runOf(name);
  const model = join(folder, RUN_FILES.model);
  const { base, revision } = baseOf(record, model);
  const structure = await structureOf({ name: model, folder: model });
  if (!isDense(structure)) {
    throw new StageError(
      `${folder} has adapters on the factors of ${structure} layers, and PEFT's are for dense matrices; export ${model} --to packed or dense, which have the adapters merged`,
    );
  }
  const adapters = await storedAdapters(folder);
  return peftFiles(adapters, { ...(await readConfig(model)), base, revision });
}

/** The model to which the adapters of a run belong. @throws StageError when it has no adapters for PEFT */
function baseOf(
  { model, settings, status }: RunRecord,
  merged: string,
): { base: string; revision?: string | undefined } {
  if (typeof settings.lora !== "number") {
    const problem = `the run of ${merged} has trained the parameters themselves, without --lora`;
    throw new StageError(`${problem}, so that it has no adapters; export the model --to dense, packed, onnx or gguf`);
  }
  if (Array.isArray(settings.loraFull) && settings.loraFull.length > 0) {
    const problem = `the run of ${merged} has trained ${settings.loraFull.join(", ")} in full beside its adapters`;
    throw new StageError(`${problem}, which PEFT's file does not hold; export the model --to dense, onnx or gguf`);
  }
  if (status !== "finished") {
    throw new StageError(`the run of ${merged} is ${status}, not finished; run its command again to resume it`);
  }
  const base = model?.name;
  if (base === undefined || isGguf(base) || isZooName(base)) {
    const problem = `the run of ${merged} started from ${base ?? "an unknown model"}, which transformers does not load`;
    throw new StageError(`${problem}; import it into a folder and fine-tune that, or export the model --to dense`);
  }
  return { base, revision: model?.revision };
}

/** The run: the folder itself, or the one around the model folder of a run. */
async function runOf(name: string): Promise<{ folder: string; record: RunRecord }> {
  const isModel = basename(resolve(name)) === RUN_FILES.model;
  for (const folder of [name, ...(isModel ? [dirname(resolve(name))] : [])]) {
    const { record, problem } = (await readRunRecord(folder)) ?? {};
    if (record) return { folder, record };
    if (problem !== undefined) throw new StageError(`${folder}: ${problem}`);
  }
  const problem = `${name} is not the folder of a run, whose checkpoint has the adapters`;
  throw new StageError(`${problem}; give a run of gblr finetune --lora, or export --to dense or packed`);
}

/**
 * Writes PEFT's files into a folder, both or none.
 * @param folder created if it does not exist
 * @throws ModelError or SafetensorsError when they cannot be written
 */
export async function writePeft({ config, tensors }: PeftFiles, folder: string): Promise<Saved> {
  await mkdir(folder, { recursive: true });
  const staged: StagedFile[] = [];
  let bytes = 0;
  try {
    for await (const event of stageSafetensors(join(folder, WEIGHTS), tensors, { metadata: { format: "pt" } })) {
      if (event.kind === "staged") [bytes] = [event.bytes, staged.push(event.staged)];
    }
    const file = await stageFile(join(folder, CONFIG));
    staged.push(file);
    await file.append(new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`));
    await file.finish();
    await replaceFiles(folder, { staged });
    return { files: [CONFIG, WEIGHTS], bytes };
  } finally {
    await Promise.all(staged.map((file) => file.discard()));
  }
}
