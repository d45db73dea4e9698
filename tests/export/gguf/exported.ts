// Writes models as GGUF files for tests, and imports them again.

import { exportGguf, type GgufOptions } from "../../../workbench/export/gguf/index.ts";
import { loadModelNow } from "../../../workbench/models/folder/load.ts";
import type { Model } from "../../../workbench/models/index.ts";
import { importGguf } from "../../../workbench/models/weights/index.ts";

/** Writes a model. @returns bytes of its tensors */
export async function exported(model: Model, file: string, options: GgufOptions): Promise<number> {
  for await (const event of exportGguf(model, file, options)) if (event.kind === "written") return event.bytes;
  throw new Error("the export did not end");
}

/** Imports a file, and loads the model into the open engine. */
export async function reimported(file: string, out: string): Promise<Model> {
  for await (const event of importGguf(file, { out })) if (event.kind === "imported") break;
  return (await loadModelNow(out)) as Model;
}
