// Kernels that create tensors, share or copy their data, and change their dtype.

import { shared } from "@tensorflow/tfjs-backend-cpu";
import { type DataType, type TensorInfo, util } from "@tensorflow/tfjs-core";
import { aten, STRIDED } from "../aten.ts";
import type { TorchBackend } from "../backend.ts";
import type { KernelTable, TorchKernel } from "../register.ts";

const full = aten("full");
const zerosLike = aten("zeros_like");
const onesLike = aten("ones_like");
const cast = aten("to", "dtype");
const notEqual = aten("ne", "Scalar");
const real = aten("real");
const clone = aten("clone");
const unsqueeze = aten("unsqueeze");
const equal = aten("eq", "Tensor");
const arange = aten("arange");
const where = aten("where", "self");
const complex = aten("complex");
const imag = aten("imag");
const abs = aten("abs");
const finite = aten("isfinite");

/** A tensor with the same data in another shape. The backend counts the references to the data. */
export function sameData(x: TensorInfo, shape: number[], backend: TorchBackend): TensorInfo {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape, dtype: x.dtype };
}

/** Uploads values from JavaScript as a tensor. */
export function upload(
  values: Float32Array | Int32Array | Uint8Array | Uint8Array[],
  shape: number[],
  dtype: DataType,
  backend: TorchBackend,
): TensorInfo {
  return { dataId: backend.write(values, shape, dtype), shape, dtype };
}

function filled(shape: number[], value: number | string, dtype: DataType, backend: TorchBackend) {
  if (dtype === "string") {
    const encoded = util.encodeString(String(value));
    return upload(new Array<Uint8Array>(util.sizeFromShape(shape)).fill(encoded), shape, dtype, backend);
  }
  return full(shape, value, dtype, STRIDED, backend.device);
}

function convert(x: TensorInfo, dtype: DataType, backend: TorchBackend) {
  if (x.dtype === dtype) return sameData(x, x.shape, backend);
  if (dtype === "complex64") {
    const parts = cast(x, "float32");
    return complex(parts, zerosLike(parts));
  }
  const values = x.dtype === "complex64" ? real(x) : x;
  if (dtype === "bool") return notEqual(values, 0);
  if (dtype === "int32" && x.dtype === "float32") {
    // JavaScript converts NaN and infinities to 0; in C++ the result is undefined.
    return cast(where(finite(values), values, zerosLike(values)), "int32");
  }
  return cast(values, dtype);
}

const stringsLike: TorchKernel = ({ x }, _, backend) => filled(x.shape, "", "string", backend);

export const creation: KernelTable = {
  Fill: (_, { shape, value, dtype }, backend) => filled(shape, value, dtype ?? util.inferDtype(value), backend),
  ZerosLike: (inputs, attrs, backend) =>
    inputs.x.dtype === "string" ? stringsLike(inputs, attrs, backend) : zerosLike(inputs.x),
  OnesLike: ({ x }) => {
    if (x.dtype === "string") throw new Error("onesLike is not supported for string tensors");
    return onesLike(x);
  },
  Range: (_, { start, stop, step, dtype }, backend) => {
    const values = shared.rangeImpl(start, stop, step, dtype) as Float32Array | Int32Array;
    return upload(values, [values.length], dtype, backend);
  },
  LinSpace: (_, { start, stop, num }, backend) =>
    upload(shared.linSpaceImpl(start, stop, num) as Float32Array, [num], "float32", backend),
  Identity: ({ x }, _, backend) => sameData(x, x.shape, backend),
  Cast: ({ x }, { dtype }, backend) => convert(x, dtype, backend),
  OneHot: ({ indices }, { depth, onValue, offValue, dtype }, backend) => {
    const hit = equal(unsqueeze(indices, -1), arange(depth, "int32", STRIDED, backend.device));
    const scalar = (value: number) => full([], value, dtype ?? "int32", STRIDED, backend.device);
    return where(hit, scalar(onValue), scalar(offValue));
  },
  Complex: ({ real, imag }) => complex(real, imag),
  Real: ({ input }) => (input.dtype === "complex64" ? clone(real(input)) : clone(input)),
  Imag: ({ input }) => (input.dtype === "complex64" ? clone(imag(input)) : zerosLike(input)),
  ComplexAbs: ({ x }) => abs(x),
};
