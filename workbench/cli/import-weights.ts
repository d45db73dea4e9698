// `gblr import` of weights alone, such as a script's state_dict: what model they are is told by their names and shapes, and
// what had to be assumed is printed with the flag that says otherwise. The work is in models/weights.

import { CONFIG_FILE } from "../../hub/model-folder/index.ts";
import { type ImportWeightsOptions, importWeights, type Recognized } from "../models/weights/index.ts";
import { interruptible } from "./interrupt.ts";
import { expectPlaceForModel } from "./place-for-model.ts";
import { CommandFailed } from "./program.ts";
import { progressBar } from "./progress-bar.ts";
import { formatBytes, type Palette } from "./terminal.ts";

export interface WeightsSummary {
  file: string;
  out: string;
  /** `model_type` */
  type: string;
  /** as timm calls it, where config.json does */
  name: string;
  /** of a classifier */
  classes?: number;
  tensors: number;
  /** of all tensors */
  bytes: number;
  /** what no tensor tells and no flag said */
  assumed: Recognized["assumed"];
  /** names of tensors that are none of the model's */
  leftOut: string[];
  /** names in the folder */
  files: string[];
}

export async function importWeightsWithProgress(
  file: string,
  { force, ...options }: ImportWeightsOptions & { force: boolean },
): Promise<WeightsSummary> {
  await expectPlaceForModel(options.out, { force });
  return interruptible("interrupted; nothing was written", async (signal) => {
    const bar = progressBar({ label: "importing" });
    let written = { tensors: 0, bytes: 0 };
    try {
      for await (const event of importWeights(file, options)) {
        if (event.kind === "imported") return { file, out: options.out, ...written, ...described(event) };
        signal.throwIfAborted();
        if (event.kind === "opened") {
          written = { tensors: event.tensors, bytes: event.bytes };
          bar.setTotal(event.bytes);
        } else bar.advance(event.bytes);
      }
      throw new CommandFailed(`${file}: the import ended early`);
    } finally {
      bar.stop();
    }
  });
}

function described({ model, files }: { model: Recognized; files: string[] }) {
  const { architecture, config, assumed, others: leftOut } = model;
  const { classes } = architecture.readConfig({ ...config }, CONFIG_FILE) as { classes?: number };
  const name = typeof config.architecture === "string" ? config.architecture : architecture.type;
  return { type: architecture.type, name, ...(classes !== undefined && { classes }), assumed, leftOut, files };
}

export function printWeightsSummary(
  { file, out, type, name, classes, tensors, bytes, assumed, leftOut, files }: WeightsSummary,
  palette: Palette,
): string {
  const what = classes === undefined ? name : `${name} of ${classes} classes`;
  return [
    palette.bold(`${file} → ${out}`),
    `  ${what}, by names and shapes: ${tensors} tensors, ${formatBytes(bytes)}`,
    ...assumptions(assumed).map((text) => `  ${palette.dim("assumed")} ${text}`),
    ...(type === "gpt2"
      ? [`  ${palette.dim("missing")} a tokenizer: copy tokenizer.json of its base model to it`]
      : []),
    ...(leftOut.length === 0 ? [] : [`  ${palette.dim("left out")} ${leftOut.length} tensors, such as ${leftOut[0]}`]),
    `  ${palette.dim("written")} ${files.join(", ")}`,
  ].join("\n");
}

/** A line for each thing that no tensor tells, with what says otherwise. */
function assumptions({ heads, imageSize, mean, std, ...images }: Recognized["assumed"]): string[] {
  const { interpolation, cropShare, cropMode } = images;
  return [
    ...(heads === undefined ? [] : [`${heads} attention heads, one for each 64 of the width (--heads)`]),
    ...(imageSize === undefined ? [] : [`images of ${imageSize} × ${imageSize} (--image-size)`]),
    ...(mean === undefined ? [] : [`mean ${mean.join(",")} of red, green and blue (--mean)`]),
    ...(std === undefined ? [] : [`standard deviation ${std.join(",")} (--std)`]),
    ...(interpolation === undefined
      ? []
      : [
          `${interpolation} resizing, crop ${cropShare} ${cropMode} (--interpolation, --crop, --crop-mode of eval acc)`,
        ]),
  ];
}
