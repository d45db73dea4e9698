// Elementwise kernels: unary and binary arithmetic, comparisons, activations.

import type { TensorInfo } from "@tensorflow/tfjs-core";
import { aten, operandHandles } from "../aten.ts";
import type { KernelTable, TorchKernel } from "../register.ts";

const add = aten("add", "Tensor");
const sub = aten("sub", "Tensor");
const mul = aten("mul", "Tensor");
const mulScalar = aten("mul", "Scalar");
const addScalar = aten("add", "Scalar");
const divideRounded = aten("div", "Tensor_mode");
const remainder = aten("remainder", "Tensor");
const equalScalar = aten("eq", "Scalar");
const where = aten("where", "self");
const isNan = aten("isnan");
const greaterScalar = aten("gt", "Scalar");
const lessScalar = aten("lt", "Scalar");
const clamp = aten("clamp");
const clone = aten("clone");
const cast = aten("to", "dtype");
const zerosLike = aten("zeros_like");
const relu = aten("relu");
const elu = aten("elu");
const eluBackward = aten("elu_backward");
const leakyRelu = aten("leaky_relu");
const sigmoid = aten("sigmoid");

const unary = (name: string): TorchKernel => {
  const operator = aten(name);
  return ({ x }) => operator(x);
};

const binary = (name: string, overload = "Tensor"): TorchKernel => {
  const operator = aten(name, overload);
  return ({ a, b }) => operator(a, b);
};

/** A binary operator that takes a number from host memory beside a tensor on a GPU. */
const withNumber = (name: string, overload = "Tensor"): TorchKernel => {
  const operator = aten(name, overload);
  return ({ a, b }) => operator(...operandHandles(a, b));
};

/** Applies a division so that integer division by zero gives 0, as in TensorFlow.js. In ATen it is an error. */
const guardZero = (b: TensorInfo, operate: (divisor: TensorInfo | number) => number): number => {
  if (b.dtype !== "int32") return operate(b);
  const zero = equalScalar(b, 0);
  const quotient = operate(add(b, zero));
  return where(zero, zerosLike(quotient), quotient);
};

export const elementwise: KernelTable = {
  Abs: unary("abs"),
  Acos: unary("acos"),
  Acosh: unary("acosh"),
  Asin: unary("asin"),
  Asinh: unary("asinh"),
  Atan: unary("atan"),
  Atanh: unary("atanh"),
  Ceil: unary("ceil"),
  Cos: unary("cos"),
  Cosh: unary("cosh"),
  Erf: unary("erf"),
  Exp: unary("exp"),
  Expm1: unary("expm1"),
  Floor: unary("floor"),
  IsFinite: unary("isfinite"),
  IsInf: unary("isinf"),
  IsNan: unary("isnan"),
  Log: unary("log"),
  Log1p: unary("log1p"),
  LogicalNot: unary("logical_not"),
  Neg: unary("neg"),
  Reciprocal: unary("reciprocal"),
  Round: unary("round"),
  Rsqrt: unary("rsqrt"),
  Sigmoid: unary("sigmoid"),
  Sin: unary("sin"),
  Sinh: unary("sinh"),
  Softplus: unary("softplus"),
  Sqrt: unary("sqrt"),
  Tan: unary("tan"),
  Tanh: unary("tanh"),
  Selu: unary("selu"),
  Relu: unary("relu"),
  Square: ({ x }) => mul(x, x),
  Sign: unary("sign"),
  Relu6: ({ x }) => clamp(x, 0, 6),
  Elu: ({ x }) => elu(x),
  EluGrad: ({ dy, y }) => eluBackward(dy, 1, 1, 1, true, y),
  LeakyRelu: ({ x }, { alpha }) => leakyRelu(x.dtype === "float32" ? x : cast(x, "float32"), alpha),
  Prelu: ({ x, alpha }) => where(lessScalar(x, 0), mul(x, alpha), x),
  ClipByValue: ({ x }, { clipValueMin, clipValueMax }) => clamp(x, clipValueMin, clipValueMax),
  Step: ({ x }, { alpha }) => {
    const step = addScalar(mulScalar(cast(greaterScalar(x, 0), "float32"), 1 - alpha), alpha);
    return x.dtype === "float32" ? where(isNan(x), x, step) : cast(step, x.dtype);
  },

  Add: withNumber("add"),
  Sub: withNumber("sub"),
  Multiply: withNumber("mul"),
  RealDiv: withNumber("div"),
  FloorDiv: ({ a, b }) => guardZero(b, (divisor) => divideRounded(a, divisor, "floor")),
  Mod: ({ a, b }) => guardZero(b, (divisor) => remainder(a, divisor)),
  Pow: binary("pow", "Tensor_Tensor"),
  Maximum: withNumber("maximum", ""),
  Minimum: withNumber("minimum", ""),
  Atan2: binary("atan2", ""),
  BitwiseAnd: binary("bitwise_and"),
  SquaredDifference: ({ a, b }) => {
    const difference = sub(a, b);
    return mul(difference, difference);
  },
  Equal: withNumber("eq"),
  NotEqual: withNumber("ne"),
  Greater: withNumber("gt"),
  GreaterEqual: withNumber("ge"),
  Less: withNumber("lt"),
  LessEqual: withNumber("le"),
  LogicalAnd: binary("logical_and", ""),
  LogicalOr: binary("logical_or", ""),
  Select: ({ condition, t, e }) => where(condition, t, e),
  AddN: (inputs) => {
    const [first, ...rest] = Object.values(inputs) as [TensorInfo, ...TensorInfo[]];
    return rest.reduce<TensorInfo | number>(
      (sum, term) => add(sum, term),
      rest.length ? first : clone(first),
    ) as number;
  },
};

/** The activation of a fused kernel, applied to a handle. */
export function activate(
  x: number,
  activation: string | undefined,
  { slopes, alpha }: { slopes?: TensorInfo | number; alpha?: number },
): number {
  switch (activation) {
    case undefined:
    case null:
    case "linear":
      return x;
    case "relu":
      return relu(x);
    case "relu6":
      return clamp(x, 0, 6);
    case "elu":
      return elu(x);
    case "sigmoid":
      return sigmoid(x);
    case "leakyrelu":
      return leakyRelu(x, alpha);
    case "prelu":
      return where(lessScalar(x, 0), mul(x, slopes), x);
    default:
      throw new Error(`activation ${activation} has not been implemented for the torch engine`);
  }
}
