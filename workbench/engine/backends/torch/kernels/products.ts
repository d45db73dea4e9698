// Matrix products.

import { backend_util, type TensorInfo, util } from "@tensorflow/tfjs-core";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable } from "../register.ts";
import { activate } from "./elementwise.ts";

const matrixProduct = aten("mm");
const batchProduct = aten("bmm");
const anyProduct = aten("matmul");
const transpose = aten("transpose", "int");
const add = aten("add", "Tensor");
const cast = aten("to", "dtype");
const einsum = aten("einsum");

type Transposed = { transposeA: boolean; transposeB: boolean };

/** a (…, m, k) · b (…, k, n), either stored transposed; leading axes broadcast. */
export function product(
  a: TensorInfo,
  b: TensorInfo,
  { transposeA, transposeB }: Transposed,
  backend: TorchBackend,
): Handle {
  // Integer products exist on the CPU only; float64 holds every int32 product that does not overflow.
  const integers = a.dtype === "int32" && backend.device !== "cpu";
  const prepare = (x: TensorInfo) => (integers ? cast(x, "float64") : x);
  checkProduct(a.shape, b.shape, { transposeA, transposeB });
  const left = transposeA ? transpose(prepare(a), -2, -1) : prepare(a);
  const right = transposeB ? transpose(prepare(b), -2, -1) : prepare(b);
  const result = multiply(a, b)(left, right);
  return integers ? cast(result, "int32") : result;
}

function checkProduct(a: number[], b: number[], { transposeA, transposeB }: Transposed): void {
  const inner = [a.at(transposeA ? -2 : -1), b.at(transposeB ? -1 : -2)];
  util.assert(
    a.length >= 2 && b.length >= 2 && inner[0] === inner[1],
    () =>
      `Error in matMul: inner shapes (${inner[0]}) and (${inner[1]}) of Tensors with shapes ${a} and ${b} and ` +
      `transposeA=${transposeA} and transposeB=${transposeB} must match.`,
  );
}

function multiply(a: TensorInfo, b: TensorInfo) {
  if (a.shape.length === 2 && b.shape.length === 2) return matrixProduct;
  if (a.shape.length === 3 && b.shape.length === 3 && a.shape[0] === b.shape[0]) return batchProduct;
  return anyProduct;
}

export const products: KernelTable = {
  BatchMatMul: ({ a, b }, attrs, backend) => product(a, b, attrs, backend),
  _FusedMatMul: ({ a, b, bias, preluActivationWeights }, attrs, backend) => {
    const result = product(a, b, attrs, backend);
    const { activation, leakyreluAlpha: alpha } = attrs;
    return activate(bias ? add(result, bias) : result, activation, { slopes: preluActivationWeights, alpha });
  },
  Einsum: (inputs, { equation }) => {
    const tensors = Object.values(inputs) as TensorInfo[];
    const { allDims, idDims } = backend_util.decodeEinsumEquation(equation, tensors.length);
    backend_util.checkEinsumDimSizes(allDims.length, idDims, tensors as never);
    return einsum(equation.replace(/\s/g, ""), tensors);
  },
};
