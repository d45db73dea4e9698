// Computes a part of a model without keeping its activations: the backward pass computes them again. Costs a second
// forward pass of that part (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").

import { type NamedTensorMap, type Tensor, type Variable, zerosLike } from "@tensorflow/tfjs-core";
import { differentiable } from "../../ops/differentiable.ts";
import { type GradientMap, walkBackward } from "./backward.ts";
import { record } from "./recording.ts";

/**
 * f(...inputs), with gradients to inputs and variables. Saves the inputs only.
 * @param f the same numbers at each call: seeds of dropout must be fixed; must use no other variable that is to learn
 * @param inputs float32
 */
export function recompute<Inputs extends Tensor[]>(
  f: (...inputs: Inputs) => Tensor,
  inputs: Inputs,
  variables: readonly Variable[],
): Tensor {
  const named = (tensors: readonly Tensor[]): NamedTensorMap => Object.fromEntries(tensors.entries());
  return differentiable({
    name: "recompute",
    inputs: named([...inputs, ...variables]),
    forward: () => ({ value: f(...inputs).clone(), saved: inputs }),
    backward: (dy, saved) => {
      const sources = [...saved, ...variables];
      const { value, tape } = record(() => f(...(saved as Inputs)).clone());
      const gradients: GradientMap = new Map([[value.id, dy.clone()]]);
      walkBackward(tape, { gradients, sources, target: value });
      value.dispose();
      // tfjs disposes what a thunk makes before the next is called, so all is made here.
      return Object.fromEntries(
        sources.map((source, i) => {
          const gradient = gradients.get(source.id) ?? zerosLike(source);
          return [i, () => gradient];
        }),
      );
    },
  });
}
