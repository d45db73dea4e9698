// The TensorFlow.js backend over libtorch. It owns tensors, uploads and reads their values, and reports memory and
// time; the kernels in kernels/ compute. Each data id stands for one torch tensor of exactly the tensor's shape.

import {
  type BackendTimingInfo,
  type BackendValues,
  type DataType,
  KernelBackend,
  type TensorInfo,
  util,
} from "@tensorflow/tfjs-core";
import { type Addon, type DtypeName, type Handle, loadAddon } from "./addon.ts";
import { aten, dataOf, infoOf, keepOne, openAddon, SCALAR_TYPE, type TorchDataId } from "./aten.ts";

const cast = aten("to", "dtype");
const viewAsReal = aten("view_as_real");
const viewAsComplex = aten("view_as_complex");

type NumericType = Exclude<DataType, "string">;

/** The torch type that stores each dtype of TensorFlow.js. */
const HELD_AS: Record<NumericType, DtypeName> = {
  float32: "float32",
  int32: "int32",
  bool: "bool",
  complex64: "complex64",
};

/**
 * The TensorFlow.js dtype of each torch type. `convert` is the type to which a tensor is converted first if
 * TensorFlow.js has no such dtype.
 */
const TFJS_TYPE = new Map<number, { dtype: NumericType; convert?: DtypeName }>([
  [SCALAR_TYPE.float32, { dtype: "float32" }],
  // Half precision is internal. TensorFlow.js treats these tensors as float32, and reading them returns float32.
  [SCALAR_TYPE.bfloat16, { dtype: "float32" }],
  [SCALAR_TYPE.float16, { dtype: "float32" }],
  [SCALAR_TYPE.float64, { dtype: "float32", convert: "float32" }],
  [SCALAR_TYPE.int32, { dtype: "int32" }],
  [SCALAR_TYPE.int64, { dtype: "int32", convert: "int32" }],
  [SCALAR_TYPE.uint8, { dtype: "int32", convert: "int32" }],
  [SCALAR_TYPE.bool, { dtype: "bool" }],
  [SCALAR_TYPE.complex64, { dtype: "complex64" }],
]);

const HALF_TYPES: ReadonlySet<number> = new Set([SCALAR_TYPE.bfloat16, SCALAR_TYPE.float16]);

/** The backend `torch` on one device. */
export class TorchBackend extends KernelBackend {
  readonly device: string;
  private readonly addon: Addon;
  private tensors = 0;
  /** whether tensors of dtype float32 may be held as bfloat16 */
  mixed = false;

  /** @param device `cpu` or `cuda:0` */
  constructor(device: string) {
    super();
    this.device = device;
    this.addon = openAddon();
  }

  /**
   * With `enabled`, matrix products, convolutions and attention compute in bfloat16 and return it; other kernels use it
   * unchanged or convert it to float32. Weights, and results that sum over many values, stay float32.
   */
  useBfloat16(enabled: boolean): void {
    this.mixed = enabled;
    this.addon.autocast(this.device, enabled, "bfloat16");
  }

  /** Creates a TensorFlow.js tensor from a handle, which the tensor then owns. */
  adopt(handle: Handle): TensorInfo {
    const info = infoOf(handle);
    const type = TFJS_TYPE.get(info.type);
    if (!type) throw new Error(`torch type ${info.type} has no TensorFlow.js dtype`);
    const owned = type.convert ? this.convert(handle, type.convert) : handle;
    // With the precision bfloat16, results are half too, and kernels take them as they are.
    const half = !this.mixed && HALF_TYPES.has(info.type);
    const data = { handle: owned, references: 1, ...(half && { half }) };
    return { dataId: this.own(data), shape: info.shape, dtype: type.dtype };
  }

  /** Runs `body` with products in float32 (TF32 on CUDA), whatever the precision is. */
  withoutBfloat16<Result>(body: () => Result): Result {
    if (!this.mixed) return body();
    this.addon.autocast(this.device, false, "bfloat16");
    try {
      return body();
    } finally {
      this.addon.autocast(this.device, true, "bfloat16");
    }
  }

  private convert(handle: Handle, dtype: DtypeName): Handle {
    const converted = keepOne(() => cast(handle, dtype));
    this.addon.free(handle);
    return converted;
  }

  private own(torch: TorchDataId["torch"]): TorchDataId {
    this.tensors++;
    return { torch };
  }

  /** Whether an update of this tensor in place would change another one. */
  isShared(tensor: TensorInfo): boolean {
    const data = dataOf(tensor.dataId);
    return data.references > 1 || this.addon.isShared(data.handle);
  }

  override write(values: BackendValues, shape: number[], dtype: DataType): TorchDataId {
    return this.own(this.upload(values, shape, dtype, 1));
  }

  override move(dataId: object, values: BackendValues, shape: number[], dtype: DataType, references: number): void {
    (dataId as TorchDataId).torch = this.upload(values, shape, dtype, references);
    this.tensors++;
  }

  private upload(values: BackendValues, shape: number[], dtype: DataType, references: number): TorchDataId["torch"] {
    if (dtype === "string") return { handle: -1, strings: values as Uint8Array[], references };
    if (dtype === "complex64") return { handle: this.uploadComplex(values as Float32Array, shape), references };
    const typed = toTyped(values as ArrayLike<number>, dtype);
    const onto = (device: string) => this.addon.fromBytes(typed, HELD_AS[dtype], shape, device);
    if (shape.length > 0 || this.device === "cpu") return { handle: onto(this.device), references };
    return inHostMemory(onto("cpu"), {
      references,
      free: (handle) => this.addon.free(handle),
      move: () => onto(this.device),
    });
  }

  /** `values` contains real and imaginary parts in turn. */
  private uploadComplex(values: Float32Array, shape: number[]): Handle {
    const pairs = this.addon.fromBytes(values, "float32", [...shape, 2], this.device);
    try {
      return keepOne(() => viewAsComplex(pairs));
    } finally {
      this.addon.free(pairs);
    }
  }

  override readSync(dataId: object): BackendValues {
    const data = dataOf(dataId);
    if (data.strings) return data.strings;
    const { handle, temporary, view } = this.readable(data.handle);
    try {
      return view(this.addon.read(handle));
    } finally {
      if (temporary) this.addon.free(handle);
    }
  }

  override async read(dataId: object): Promise<BackendValues> {
    const data = dataOf(dataId);
    if (data.strings) return data.strings;
    const { handle, temporary, view } = this.readable(data.handle);
    try {
      return view(await this.addon.readAsync(handle));
    } finally {
      if (temporary) this.addon.free(handle);
    }
  }

  /**
   * A handle whose bytes have the layout that TensorFlow.js expects, and a function that makes a typed array of them. A
   * `temporary` handle must be freed after the read.
   */
  private readable(handle: Handle) {
    const { type } = infoOf(handle);
    const half = HALF_TYPES.has(type);
    const complex = type === SCALAR_TYPE.complex64;
    const view = (bytes: ArrayBuffer): BackendValues => {
      if (type === SCALAR_TYPE.int32) return new Int32Array(bytes);
      if (type === SCALAR_TYPE.bool) return new Uint8Array(bytes);
      return new Float32Array(bytes);
    };
    if (!half && !complex) return { handle, temporary: false, view };
    const converted = keepOne(() => (half ? cast(handle, "float32") : viewAsReal(handle)));
    return { handle: converted, temporary: true, view };
  }

  override refCount(dataId: object): number {
    return (dataId as TorchDataId).torch?.references ?? 0;
  }

  override incRef(dataId: object): void {
    dataOf(dataId).references++;
  }

  decRef(dataId: object): void {
    const data = (dataId as TorchDataId).torch;
    if (data) data.references--;
  }

  /** Returns whether the data was freed. Unless forced, it is kept while other tensors refer to it. */
  override disposeData(dataId: object, force = false): boolean {
    const owner = dataId as TorchDataId;
    const data = owner.torch;
    if (!data) return true;
    if (--data.references > 0 && !force) return false;
    owner.torch = undefined;
    this.tensors--;
    if (!data.strings) this.addon.free(data.handle);
    if (data.copy !== undefined) this.addon.free(data.copy);
    return true;
  }

  override numDataIds(): number {
    return this.tensors;
  }

  override memory() {
    return { unreliable: false, ...this.addon.memory() };
  }

  /** The time of `f` in milliseconds, including the computations that it queues on the device. */
  override async time(f: () => void): Promise<BackendTimingInfo> {
    this.addon.synchronize(this.device);
    const start = util.now();
    f();
    this.addon.synchronize(this.device);
    return { kernelMs: util.now() - start };
  }

  override timerAvailable(): boolean {
    return true;
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {}
}

/** A single number, which stays in host memory until a kernel needs it on the device. Most never do. */
function inHostMemory(
  handle: Handle,
  { references, free, move }: { references: number; free: (handle: Handle) => void; move: () => Handle },
): NonNullable<TorchDataId["torch"]> {
  const data: NonNullable<TorchDataId["torch"]> = { handle, references };
  data.upload = () => {
    free(data.handle);
    data.handle = move();
    data.upload = undefined;
  };
  return data;
}

/** The addon of an open backend. */
export const currentAddon = (): Addon => loadAddon().addon;

function toTyped(
  values: ArrayLike<number>,
  dtype: "float32" | "int32" | "bool",
): Float32Array | Int32Array | Uint8Array {
  if (dtype === "float32") return values instanceof Float32Array ? values : Float32Array.from(values);
  if (dtype === "int32") return values instanceof Int32Array ? values : Int32Array.from(values);
  // In TensorFlow.js any non-zero byte is true; torch computes with the byte itself, which must be 0 or 1.
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = values[i] ? 1 : 0;
  return bytes;
}
