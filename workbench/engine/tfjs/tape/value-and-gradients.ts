// The value of a loss and its gradients, as tf.variableGrads gives them, at the memory of the activations alone: what
// the forward pass saved and what the backward pass made is freed as soon as it has been used.

import { onesLike, type Scalar, type Tensor, tidy, type Variable } from "@tensorflow/tfjs-core";
import { EngineError, ShapeError } from "../../core/errors.ts";
import { type GradientMap, walkBackward } from "./backward.ts";
import { record } from "./recording.ts";

export interface ValueAndGradients {
  /** of the loss, a float32 scalar */
  value: Scalar;
  /** one for each variable that the loss depends on, of its shape; none for the others */
  gradients: Map<Variable, Tensor>;
}

export interface GradientOptions {
  /**
   * Gradients to add to, such as those of an earlier micro-batch; used up, also when this throws. Needs no second set
   * of gradients in memory.
   */
  onto?: Map<Variable, Tensor>;
}

/**
 * The same numbers as tf.variableGrads, bit by bit. The tensors returned are the caller's to dispose. Variables that are
 * not trainable are passed over.
 * @param loss gives a float32 scalar
 * @throws ShapeError when the loss is something else; EngineError when it depends on none of the variables
 */
export function valueAndGradients(
  loss: () => Scalar,
  variables: readonly Variable[],
  { onto = new Map() }: GradientOptions = {},
): ValueAndGradients {
  const sources = variables.filter(({ trainable }) => trainable);
  const wanted = [...new Set([...sources, ...onto.keys()])];
  try {
    const reached: Variable[] = [];
    const [value, ...found] = tidy("valueAndGradients", () => {
      const recorded = record(() => scalarOf(loss(), sources));
      const gradients: GradientMap = new Map(Array.from(onto, ([variable, gradient]) => [variable.id, gradient]));
      gradients.set(recorded.value.id, onesLike(recorded.value));
      walkBackward(recorded.tape, { gradients, sources, target: recorded.value });
      reached.push(...wanted.filter(({ id }) => gradients.has(id)));
      return [recorded.value, ...reached.map(({ id }) => gradients.get(id) as Tensor)];
    }) as [Scalar, ...Tensor[]];
    if (reached.length > 0)
      return { value, gradients: new Map(reached.map((variable, i) => [variable, found[i] as Tensor])) };
    value.dispose();
    throw new EngineError("the loss depends on no trainable variable", "compute it from the variables in the function");
  } catch (error) {
    for (const gradient of onto.values()) gradient.dispose();
    throw error;
  }
}

/** The loss as a tensor of its own, which the caller may dispose even where it is a variable. */
function scalarOf(loss: Tensor, sources: readonly Variable[]): Scalar {
  if (loss.rank !== 0 || loss.dtype !== "float32") {
    throw new ShapeError(`valueAndGradients: loss must be float32 (), got ${loss.dtype} (${loss.shape.join(", ")})`);
  }
  return (sources.some(({ id }) => id === loss.id) ? loss.clone() : loss) as Scalar;
}
