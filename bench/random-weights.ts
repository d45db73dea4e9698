// A model with random weights for the benches of whole models. createModel draws each weight on its own, which takes
// longer than the measurement; here the same million numbers are used again and again, which costs the same to compute
// with.

import type { Architecture } from "../workbench/architectures/architecture.ts";
import { layersOf, namesOf, parametersOf } from "../workbench/architectures/architecture.ts";
import type { Start } from "../workbench/architectures/network.ts";
import { seededUniform } from "../workbench/engine/core/random.ts";
import { Model } from "../workbench/models/index.ts";
import { variableFrom } from "../workbench/models/variables.ts";
import { dense } from "../workbench/structures/dense.ts";

const UNIFORM = 1 << 20;

/** An untrained model. @param json content of config.json */
export function randomModel<Config>(
  architecture: Architecture<Config>,
  json: Readonly<Record<string, unknown>>,
): Model<Config> {
  const config = architecture.readConfig({ ...json }, "config");
  const uniform = seededUniform(1);
  const numbers = Float32Array.from({ length: UNIFORM }, () => 2 * uniform() - 1);
  const parameters = new Map(
    [...parametersOf(architecture, config)].map(([name, { shape, start, buffer }], index) => {
      const size = shape.reduce((product, side) => product * side, 1);
      const values = repeated(scaled(numbers, start), { size, from: (7919 * index) % UNIFORM });
      return [name, variableFrom(values, shape, { trainable: !buffer })] as const;
    }),
  );
  const layers = new Map(layersOf(architecture, config).map((layer) => [layer.name, { ...layer, structure: dense }]));
  const prefix = namesOf(architecture).prefixOf?.(config);
  return new Model({ architecture, config, json, parameters, layers, ...(prefix !== undefined && { prefix }) });
}

/** Numbers from -1 to 1 as the start of a parameter, with the standard deviation that it asks for. */
function scaled(numbers: Float32Array, start: Start): Float32Array {
  if (start.kind === "ones") return new Float32Array(numbers.length).fill(1);
  if (start.kind === "constant") return new Float32Array(numbers.length).fill(start.value);
  if (start.kind === "zeros") return new Float32Array(numbers.length);
  const half = start.kind === "normal" ? start.deviation * Math.sqrt(3) : start.bound;
  return numbers.map((number) => half * number);
}

function repeated(numbers: Float32Array, { size, from }: { size: number; from: number }): Float32Array<ArrayBuffer> {
  const values = new Float32Array(size);
  for (let at = 0, first = from; at < size; first = 0) {
    const part = numbers.subarray(first, first + size - at);
    values.set(part, at);
    at += part.length;
  }
  return values;
}
