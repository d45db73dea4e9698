// How much a layer changes when its parameters are rounded to int8, measured: the relative error of its matrix. Where
// terms cancel each other, as the blocks of a search by outputs do, small changes of the terms are large ones of the sum.

import { div, norm, sub, type Tensor, type Tensor2D, tensor, tidy } from "@tensorflow/tfjs-core";
import { bfloat16ToFloat32 } from "../../../hub/safetensors/convert.ts";
import { fromInt8, toInt8 } from "../../../hub/safetensors/int8.ts";
import type { HeldMatrix } from "../../structures/structure.ts";
import type { LinearLayer, Model } from "../model.ts";

/**
 * Largest relative error ‖W − W'‖ / ‖W‖ of a layer in int8. Rounding changes a matrix by about 0.6 %, and the product of
 * two factors by about 0.9 %.
 */
export const MOST_INT8_ERROR = 0.02;

/** Names of the structured layers that int8 would change by more than `MOST_INT8_ERROR`. */
export async function layersWrongInInt8(model: Model): Promise<string[]> {
  const found: string[] = [];
  for (const layer of model.layers.values()) {
    if (layer.structure.isDense) continue;
    const error = await errorInInt8(model, layer);
    // A layer with values that are not finite has no error that could be compared.
    if (!(error <= MOST_INT8_ERROR)) found.push(layer.name);
  }
  return found;
}

/** The relative error of a structured layer; NaN if it has values that are not finite. */
async function errorInInt8(model: Model, { name, structure }: LinearLayer): Promise<number> {
  const parameters = model.structureParameters(name);
  const packed = await structure.pack?.(parameters);
  const held: HeldMatrix = packed ?? { structure, parameters };
  const rounded: Record<string, Tensor> = {};
  try {
    for (const [part, values] of Object.entries(held.parameters)) {
      const isKept = values.dtype !== "float32" || held.structure.fixed?.includes(part) === true;
      rounded[part] = isKept ? values.clone() : await inInt8(values);
    }
    const ratio = tidy(() => {
      const whole: Tensor2D = held.structure.dense(held.parameters);
      return div(norm(sub(whole, held.structure.dense(rounded))), norm(whole));
    });
    const [error = 0] = await ratio.data();
    ratio.dispose();
    return error;
  } catch (error) {
    if (error instanceof RangeError) return Number.NaN;
    throw error;
  } finally {
    for (const each of [...Object.values(rounded), ...Object.values(packed?.parameters ?? {})]) each.dispose();
  }
}

async function inInt8(values: Tensor): Promise<Tensor> {
  const { integers, scales } = toInt8((await values.data()) as Float32Array);
  return tensor(fromInt8({ integers, scales: bfloat16ToFloat32(scales) }), values.shape, "float32");
}
