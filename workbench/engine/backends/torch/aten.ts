// ATen operators as functions on handles, and the arena that frees the intermediate results of a kernel. Dtypes and
// shapes of results are read from the addon.

import { type TensorInfo, Variable } from "@tensorflow/tfjs-core";
import { moveToCurrentBackend } from "../../tfjs/internals.ts";
import { type Addon, type Argument, type Handle, loadAddon } from "./addon.ts";

/**
 * An operand that a kernel passes to an operator: a plain value, a handle, a TensorFlow.js tensor, or a list of them.
 */
export type Operand = Argument | TensorInfo | readonly (number | boolean | null | TensorInfo)[];

/** The data id of a tensor in this backend. The id object contains the handle. */
export interface TorchDataId {
  /** undefined once disposed of */
  torch?: {
    handle: Handle;
    strings?: Uint8Array[];
    references: number;
    /** whether it is a weight that is held in half precision and converted to float32 at each use */
    half?: boolean;
    /** moves a number that is still in host memory to the device */
    upload?: () => void;
    /** a copy in bfloat16 of a weight, for products */
    copy?: Handle;
  };
}

/** c10::ScalarType as the addon reports it. */
export const SCALAR_TYPE = {
  uint8: 0,
  int8: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float16: 5,
  float32: 6,
  float64: 7,
  complex64: 9,
  bool: 11,
  bfloat16: 15,
} as const;

/** c10::Layout of dense tensors. */
export const STRIDED = 0;
/** c10::MemoryFormat of contiguous tensors. */
export const CONTIGUOUS_FORMAT = 0;

interface Operator {
  name: string;
  overload: string;
}

/** The operators that every libtorch must have, by their whole names. */
const declared = new Map<string, Operator>();

const META_LENGTH = 1024;
/** The dtype code, rank and sizes of each tensor that the latest call of an operator returned. */
const meta = new Float64Array(META_LENGTH);
let addon: Addon | undefined;
/** Handles that running kernels have created. */
const arena: Handle[] = [];
let lastResult: Handle = -1;

/** The addon. From the first call on it writes the dtypes and shapes of results into `meta`. */
export function openAddon(): Addon {
  if (!addon) {
    addon = loadAddon().addon;
    addon.attach(meta);
  }
  return addon;
}

/** The data of this backend for a data id. A tensor of another backend is moved here first. */
export function dataOf(dataId: object): NonNullable<TorchDataId["torch"]> {
  const id = dataId as TorchDataId;
  if (!id.torch) moveToCurrentBackend(id);
  return id.torch as NonNullable<TorchDataId["torch"]>;
}

/**
 * The handle behind a tensor, as float32 if the tensor is held in half precision. The converted copy belongs to the
 * running kernel.
 */
export function handleOf(tensor: TensorInfo): Handle {
  const data = dataOf(tensor.dataId);
  data.upload?.();
  return data.half ? toType(data.handle, "float32") : data.handle;
}

const toType = aten("to", "dtype");

/**
 * The handles of the operands of an operator that takes a number from host memory beside a tensor on a GPU, which needs
 * no copy. The result is on the device.
 */
export function operandHandles(a: TensorInfo, b: TensorInfo): [Handle, Handle] {
  const isNumber = (x: TensorInfo) => dataOf(x.dataId).upload !== undefined;
  if (isNumber(a) === isNumber(b)) return [handleOf(a), handleOf(b)];
  return isNumber(a) ? [dataOf(a.dataId).handle, handleOf(b)] : [handleOf(a), dataOf(b.dataId).handle];
}

const permute = aten("permute");
const contiguous = aten("contiguous");

/**
 * The bfloat16 copy of a variable, for products with the precision bfloat16. It is made at the first use and kept until
 * the variable changes or is disposed of. Undefined for other tensors. That of a filter of convolutions (…spatial, in, out)
 * has the input channels last in memory, as cuDNN reads it beside images with the channels last.
 */
export function bfloat16CopyOf(x: TensorInfo): Handle | undefined {
  const data = dataOf(x.dataId);
  if (data.copy === undefined && x instanceof Variable && x.dtype === "float32" && !data.half) {
    data.copy = keepOne(() => toType(x.rank < 4 ? x : withInputChannelsLast(x), "bfloat16"));
  }
  return data.copy;
}

/** The same filter (…spatial, in, out), which is (out, …spatial, in) in memory. */
function withInputChannelsLast(filter: TensorInfo): Handle {
  const last = filter.shape.length - 1;
  const spatial = Array.from({ length: last - 1 }, (_, i) => i);
  const inMemory = contiguous(permute(filter, [last, ...spatial, last - 1]), CONTIGUOUS_FORMAT);
  return permute(inMemory, [...spatial.map((i) => i + 1), last, 0]);
}

/** Must be called when a variable is changed in place. */
export function forgetCopy(x: TensorInfo): void {
  const data = dataOf(x.dataId);
  if (data.copy !== undefined) (addon as Addon).free(data.copy);
  data.copy = undefined;
}

/** The handle of a tensor that is held in half precision; undefined for other tensors. */
export function halfHandleOf(tensor: TensorInfo): Handle | undefined {
  const { handle, half } = dataOf(tensor.dataId);
  return half ? handle : undefined;
}

function toArgument(operand: Operand): Argument {
  if (typeof operand !== "object" || operand === null) return operand;
  if (Array.isArray(operand)) {
    const first = operand[0];
    if (typeof first !== "object" || first === null) return operand as (number | boolean)[];
    return (operand as TensorInfo[]).map(handleOf);
  }
  return handleOf(operand as TensorInfo);
}

/**
 * The operator `aten::name.overload` as a function. Results are freed at the end of the kernel unless it returns them.
 * When the engine opens, all operators are looked for, see `lackingOperators`.
 */
export function aten<Result extends Handle | Handle[] = Handle>(name: string, overload = "", namespace = "aten") {
  declared.set(`${namespace}::${name}.${overload}`, { name: `${namespace}::${name}`, overload });
  return internalAten<Result>(name, overload, namespace);
}

/** Of some operators, by default all that kernels have declared, those that this libtorch has not, e.g. `aten::add.Scalar`. */
export function lackingOperators(operators: Iterable<Operator> = declared.values()): string[] {
  const native = openAddon();
  const lacking = [...operators].filter(({ name, overload }) => !native.has(name, overload));
  return lacking.map(({ name, overload }) => (overload === "" ? name : `${name}.${overload}`));
}

/** An operator of `aten` that not every libtorch has; the caller asks `hasOperator` first. It is looked up at its first call. */
export function internalAten<Result extends Handle | Handle[] = Handle>(
  name: string,
  overload = "",
  namespace = "aten",
) {
  let operator = -1;
  let tensors: readonly boolean[] = [];
  return (...operands: Operand[]): Result => {
    const native = addon as Addon;
    if (operator < 0) {
      operator = native.lookup(`${namespace}::${name}`, overload);
      tensors = native.tensorResults(operator);
    }
    for (let i = 0; i < operands.length; i++) {
      const operand = operands[i];
      if (typeof operand === "object") operands[i] = toArgument(operand);
    }
    const result = native.call(operator, ...(operands as Argument[])) as Result;
    keepTrack(result, tensors);
    return result;
  };
}

/**
 * Adds the handles among an operator's results to the arena. `tensors` distinguishes them from other results, which may
 * be numbers too.
 */
function keepTrack(result: unknown, tensors: readonly boolean[]): void {
  const first = arena.length;
  if (tensors.length === 1) {
    if (tensors[0]) addToArena(result);
  } else {
    for (let i = 0; i < tensors.length; i++) if (tensors[i]) addToArena((result as unknown[])[i]);
  }
  if (arena.length > first) lastResult = arena[first] as Handle;
}

/** Adds a handle or a list of handles. null stands for a tensor that the operator left undefined. */
function addToArena(result: unknown): void {
  if (typeof result === "number") arena.push(result);
  else if (Array.isArray(result)) for (const item of result) addToArena(item);
}

/** Whether this libtorch has the operator. */
export function hasOperator(name: string, overload = ""): boolean {
  return openAddon().has(`aten::${name}`, overload);
}

/** Starts a kernel: the results of operators belong to it from here on. Returns the mark that `leaveArena` takes. */
export const enterArena = (): number => arena.length;

/** Ends a kernel: frees all of its results except `kept`. */
export function leaveArena(mark: number, kept: Handle | readonly Handle[] | undefined): void {
  const native = addon as Addon;
  for (let i = mark; i < arena.length; i++) {
    const handle = arena[i] as Handle;
    if (handle !== kept && !(typeof kept === "object" && kept.includes(handle))) native.free(handle);
  }
  arena.length = mark;
}

/** Runs `body` and frees all results of operators in it. Its changes in place remain. */
export function keepNone(body: () => void): void {
  const mark = enterArena();
  try {
    body();
  } finally {
    leaveArena(mark, undefined);
  }
}

/** Runs `body`, keeps the handle that it returns and frees all other results. */
export function keepOne(body: () => Handle): Handle {
  const mark = enterArena();
  let kept: Handle | undefined;
  try {
    kept = body();
    return kept;
  } finally {
    leaveArena(mark, kept);
  }
}

interface HandleInfo {
  /** c10::ScalarType */
  type: number;
  shape: number[];
}

const TYPE_OF_NAME = new Map<string, number>(Object.entries(SCALAR_TYPE));

/** Shape and type of a handle. For the latest result they are known already; for other handles the addon is called. */
export function infoOf(handle: Handle): HandleInfo {
  if (handle === lastResult) {
    const rank = meta[1] as number;
    const shape = new Array<number>(rank);
    for (let i = 0; i < rank; i++) shape[i] = meta[2 + i] as number;
    return { type: meta[0] as number, shape };
  }
  const [type, , ...shape] = (addon as Addon).describe(handle);
  return { type: TYPE_OF_NAME.get(type) ?? -1, shape };
}
