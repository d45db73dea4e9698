// Counts the multiply-adds of the products that an engine really ran, from the shapes of their operands: nothing of
// what a structure says of itself.

import * as tf from "@tensorflow/tfjs-core";
import { LINEAR } from "../../workbench/engine/ops/kernels.ts";

interface Kernel {
  name: string;
  inputShapes: (number[] | null)[];
  outputShapes: number[][];
}

const area = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);

// Where linear is a composition, the product inside it is counted already.
const isComposed = () => tf.getBackend() !== "torch";

function multiplyAdds({ name, inputShapes, outputShapes }: Kernel): number {
  const [first, second] = inputShapes as [number[], number[]];
  const output = outputShapes[0] as number[];
  if (name === LINEAR) {
    return isComposed() ? 0 : area(output) * (first[first.length - 1] as number);
  }
  if (name === tf.BatchMatMul || name === tf._FusedMatMul) {
    const columns = output[output.length - 1] as number;
    return columns === 0 ? 0 : area(first) * columns;
  }
  if (name === tf.Conv2D) {
    const [rows, columns, nIn] = second as [number, number, number, number];
    return area(output) * rows * columns * nIn;
  }
  return 0;
}

/** Multiply-adds of all products in `compute`; what it returns is disposed. */
export async function countProducts(compute: () => tf.Tensor): Promise<number> {
  const { kernels, result } = await tf.profile(() => tf.tidy(compute));
  tf.dispose(result);
  let [sum, previous] = [0, 0];
  for (const kernel of kernels as Kernel[]) {
    const count = multiplyAdds(kernel);
    // A kernel is listed after those that it runs: the fused product of wasm runs a plain one.
    sum += kernel.name === tf._FusedMatMul && count === previous ? 0 : count;
    previous = count;
  }
  return sum;
}
