// The stage that writes a language model as a GGUF file. It passes on the progress and stops at an interruption, after
// which nothing is left behind.

import { basename } from "node:path";
import { exportGguf, type GgufOptions } from "../../export/gguf/index.ts";
import type { Model } from "../../models/index.ts";
import type { Saved } from "../save.ts";
import { lastEvent, type PipelineEvent } from "../stage.ts";

/**
 * Writes a model as a GGUF file, whose folder is created. The file is put in place when it is complete.
 * @throws as `exportGguf`; the signal's reason when it aborts
 */
export async function* saveGguf(
  model: Model,
  file: string,
  { signal, ...options }: GgufOptions & { signal: AbortSignal },
): AsyncGenerator<PipelineEvent, Saved> {
  const { bytes } = yield* lastEvent(exportGguf(model, file, options), "written", (event) => {
    if (event.kind === "written") return undefined;
    signal.throwIfAborted();
    return { kind: "inner", of: "save", event };
  });
  return { files: [basename(file)], bytes };
}
