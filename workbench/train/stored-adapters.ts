// Reads the adapters of a run from its last checkpoint. The model of the run holds the sums only.

import { join } from "node:path";
import { openSafetensors, type TensorFile } from "../../hub/safetensors/index.ts";
import { CHECKPOINT_FOLDER, findCheckpoint } from "./checkpoint.ts";
import { RunError } from "./events.ts";

/** A matrix, row by row. */
export interface StoredMatrix {
  shape: readonly [rows: number, columns: number];
  values: Float32Array;
}

/** The adapter of one parameter F, which training has changed to F + (α/r) B A. */
export interface StoredAdapter {
  /** name of the parameter, e.g. `h.0.attn.c_attn.weight` */
  parameter: string;
  /** (own rank, columns) */
  a: StoredMatrix;
  /** (rows, own rank) */
  b: StoredMatrix;
}

/** The adapters of a run. */
export interface StoredAdapters {
  /** r of the settings; a matrix with a smaller side has the rank of that side */
  rank: number;
  /** α; products are scaled by α/r */
  alpha: number;
  adapters: StoredAdapter[];
}

const A = ".lora_A";
const B = ".lora_B";
const PARAMETER = "parameter/";

/**
 * Reads the adapters of a run.
 * @param folder run folder
 * @throws RunError when its last checkpoint is not complete, or has no adapters
 */
export async function storedAdapters(folder: string): Promise<StoredAdapters> {
  const place = join(folder, CHECKPOINT_FOLDER);
  const { checkpoint, passedOver } = await findCheckpoint(place);
  // The adapters of an older checkpoint are not those of the model that the run has written.
  if (passedOver[0] !== undefined) {
    const problem = `its last checkpoint, which holds the adapters, is not complete (${passedOver[0]})`;
    throw new RunError(`${folder}: ${problem}; train once more`);
  }
  if (!checkpoint) throw new RunError(`${place} has no checkpoint, which holds the adapters; train once more`);
  const { "lora rank": rank, "lora alpha": alpha } = checkpoint.run.settings;
  if (typeof rank !== "number" || typeof alpha !== "number") {
    throw new RunError(`${checkpoint.path}: has no adapters; train with --lora`);
  }
  const adapters: StoredAdapter[] = [];
  for (const { file } of checkpoint.tensors) {
    const open = await openSafetensors(join(place, file));
    try {
      adapters.push(...(await adaptersIn(open)));
    } finally {
      await open.close();
    }
  }
  return { rank, alpha, adapters };
}

async function adaptersIn(file: TensorFile): Promise<StoredAdapter[]> {
  const found: StoredAdapter[] = [];
  for (const name of file.tensors.keys()) {
    if (!name.startsWith(PARAMETER) || !name.endsWith(A)) continue;
    const stored = name.slice(0, -A.length);
    const [a, b] = [await matrix(file, name), await matrix(file, stored + B)];
    found.push({ parameter: stored.slice(PARAMETER.length), a, b });
  }
  return found;
}

async function matrix(file: TensorFile, name: string): Promise<StoredMatrix> {
  const { shape, data } = await file.read(name);
  return { shape: [...shape] as [number, number], values: data as Float32Array };
}
