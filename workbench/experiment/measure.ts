// One line of the comparison: a model's perplexity on a split, with what it costs and weighs.

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "../../hub/model-folder/index.ts";
import type { TextWindows } from "../data/index.ts";
import { type Perplexity, perplexity } from "../evaluate/perplexity.ts";
import { modelCounts } from "../models/counts.ts";
import type { Gpt2 } from "../models/index.ts";
import type { ComparisonRow } from "../report/index.ts";
import type { ExperimentEvent } from "./events.ts";

export interface MeasureOptions {
  windows: TextWindows;
  signal: AbortSignal;
}

/** Perplexity with its progress told. */
export async function* scored(
  model: Gpt2,
  { windows, signal }: MeasureOptions,
): AsyncGenerator<ExperimentEvent, Perplexity> {
  for await (const event of perplexity(model, { windows, signal })) {
    yield { kind: "inner", of: "evaluate", event };
    if (event.kind === "perplexity") return event;
  }
  throw new Error("the evaluation ended early");
}

export type Measured = Pick<ComparisonRow, "metrics" | "relativeFlops" | "parameters" | "fileBytes">;

/** @param folder of the model as it is on the disk: what its size is taken from; without one, float32 is counted */
export async function* measure(
  model: Gpt2,
  options: MeasureOptions & { folder?: string },
): AsyncGenerator<ExperimentEvent, Measured> {
  const { nll, perplexity } = yield* scored(model, options);
  const counts = await modelCounts(model);
  const size = options.folder === undefined ? sizeInMemory(model) : await sizeOnDisk(options.folder);
  return {
    metrics: { perplexity, nll },
    relativeFlops: { reference: counts.reference.relative, actual: counts.actual.relative },
    ...size,
  };
}

interface Size {
  /** numbers that inference needs */
  parameters: number;
  fileBytes: number;
}

function sizeInMemory(model: Gpt2): Size {
  const parameters = [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0);
  return { parameters, fileBytes: 4 * parameters };
}

/** Of the files of the model's weights, without what only training needs. Spans are no parameters. */
async function sizeOnDisk(folder: string): Promise<Size> {
  const { tensors } = await openModel(folder);
  let parameters = 0;
  for (const { dtype, shape } of tensors.tensors.values()) {
    if (dtype !== "I32") parameters += shape.reduce((product, side) => product * side, 1);
  }
  await tensors.close();
  const names = (await readdir(folder)).filter((name) => /^model.*\.safetensors$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return { parameters, fileBytes: sizes.reduce((sum, size) => sum + size, 0) };
}
