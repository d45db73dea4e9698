// Writes a model folder with random weights, without the model ever being in memory. The weights are uniform with the
// standard deviation that the architecture starts with; they depend only on the tensor's position.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TensorSource, writeModel } from "../../hub/safetensors/index.ts";
import { namesOf, parametersOf } from "../../workbench/architectures/architecture.ts";
import type { ParameterInfo, Start } from "../../workbench/architectures/network.ts";
import { architectureOfConfig } from "../../workbench/architectures/registry.ts";
import { bits, mixSeed } from "../../workbench/engine/core/random.ts";

/** Number types of the files. */
export type RandomType = "F32" | "BF16";

/** Values that are made at a time. */
const CHUNK = 1 << 20;

/**
 * Writes config.json and safetensors files of at most 2 GB.
 * @param json content of config.json
 * @returns number of parameters
 */
export async function writeRandomModel(
  folder: string,
  json: Readonly<Record<string, unknown>>,
  dtype: RandomType,
): Promise<number> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(json, null, 2));
  const architecture = architectureOfConfig({ ...json }, folder);
  const config = architecture.readConfig({ ...json }, folder);
  const { prefixes, storedName } = namesOf(architecture);
  const infos = [...parametersOf(architecture, config)];
  const sources = infos.map(([name, info], index): TensorSource => {
    return {
      name: storedName(name, prefixes[0] ?? ""),
      dtype,
      shape: info.shape,
      data: () => values(info, index, dtype),
    };
  });
  for await (const _ of writeModel(folder, sources, { maxShardBytes: 2e9, metadata: { format: "pt" } }));
  return infos.reduce((sum, [, info]) => sum + sizeOf(info), 0);
}

const sizeOf = ({ shape }: ParameterInfo): number => shape.reduce((product, side) => product * side, 1);

async function* values(info: ParameterInfo, index: number, dtype: RandomType): AsyncGenerator<Uint8Array> {
  const size = sizeOf(info);
  const key = mixSeed(index);
  const { base, half } = rangeOf(info.start);
  for (let start = 0; start < size; start += CHUNK) {
    const floats = new Float32Array(Math.min(CHUNK, size - start));
    for (let i = 0; i < floats.length; i++) floats[i] = base + half * (bits(start + i, key) / 2 ** 31 - 1);
    yield new Uint8Array((dtype === "F32" ? floats : upperHalves(floats)).buffer);
  }
}

/** The middle of the uniform distribution, and half of its width. */
function rangeOf(start: Start): { base: number; half: number } {
  if (start.kind === "ones") return { base: 1, half: 0 };
  if (start.kind === "constant") return { base: start.value, half: 0 };
  if (start.kind === "zeros") return { base: 0, half: 0 };
  return { base: 0, half: start.kind === "normal" ? start.deviation * Math.sqrt(3) : start.bound };
}

/** Truncates to bfloat16. */
function upperHalves(floats: Float32Array): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const halves = new Uint16Array(floats.length);
  for (let i = 0; i < halves.length; i++) halves[i] = (words[i] as number) >>> 16;
  return halves;
}
