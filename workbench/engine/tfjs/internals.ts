// The private state of TensorFlow.js that this package depends on: the gradient tape of @tensorflow/tfjs-core, its
// table of tensors, and single fields of the CPU and Node backends (wasm.ts and webgpu.ts hold those of the other two).
// TensorFlow.js does not document these fields, so they may change with any release. They are used only in this folder,
// `assertVersion` rejects versions that were not checked, and tests/engine/tfjs-contract.test.ts checks each field's
// shape.

import {
  engine,
  findBackend,
  type KernelBackend,
  type NamedTensorMap,
  type Tensor,
  type Tensor2D,
  type TensorInfo,
} from "@tensorflow/tfjs-core";
import { EngineError } from "../core/errors.ts";

/** The release line that the private fields were checked against. */
const CHECKED = "4.22";

/**
 * Checks that the private fields of this version of a package were checked.
 * @param packageName e.g. `@tensorflow/tfjs-core`
 * @param version the package's own version string, e.g. `4.22.0`
 * @throws EngineError when the version is not a release of the checked line
 */
export function assertVersion(packageName: string, version: string): void {
  if (version.startsWith(`${CHECKED}.`)) return;
  throw new EngineError(
    `${packageName} is version ${version}, but its private state was only checked for ${CHECKED}`,
    `install ${packageName}@${CHECKED}`,
  );
}

/** Computes the gradient of one input. */
export interface GradientThunk {
  (): Tensor;
  /** if the gradient is leftᵀ right: calls `use` with both factors and returns its result, instead of the gradient */
  product?<T>(use: (left: Tensor2D, right: Tensor2D) => T): T;
}

/** One recorded operation: its inputs, its outputs and the tensors that its gradient needs. */
export interface TapeNode {
  id: number;
  kernelName: string;
  inputs: NamedTensorMap;
  outputs: Tensor[];
  /** clones marked with `keep`; only the owner of the tape disposes of them */
  saved?: Tensor[];
  /** takes the gradient of each output, or null if there is none, and returns a function for each input's gradient */
  gradient?: (dys: (Tensor | null)[]) => Record<string, GradientThunk>;
}

interface EngineState {
  /** operations recorded so far, in order; meaningless while `gradientDepth` is 0 */
  activeTape: TapeNode[] | null | undefined;
  /** how many gradient computations enclose the current code */
  gradientDepth: number;
  /** the data of all live tensors */
  tensorInfo: WeakMap<object, unknown>;
}

/** An operation to run off the tape and to record as one node. */
interface RecordedCall {
  /** the tensors that have gradients, by name */
  inputs: NamedTensorMap;
  /** computes the value; `save` keeps tensors for the gradient, and does nothing if nothing is recorded */
  forwardFunc: (backend: unknown, save: (tensors: Tensor[]) => void) => Tensor;
  /** returns a function for each input's gradient */
  backwardsFunc: (dy: Tensor, saved: Tensor[]) => Record<string, GradientThunk>;
}

interface EngineInternals {
  state: EngineState;
  backend: KernelBackend;
  isTapeOn(): boolean;
  nextTensorId(): number;
  runKernelFunc(call: RecordedCall): Tensor;
  moveData(backend: KernelBackend, dataId: object): void;
  makeTensorFromTensorInfo(info: TensorInfo): Tensor;
}

const internals = () => engine() as unknown as EngineInternals;

/**
 * The recorder's state. The tape and the depth may be replaced, as TensorFlow.js does at the start of a gradient
 * computation.
 */
export const recorderState = (): Pick<EngineState, "activeTape" | "gradientDepth"> => internals().state;

/** Whether operations are being recorded for a gradient. */
export const isRecording = (): boolean => internals().isTapeOn();

/** Runs an operation and records it as one node, as tfjs does with its own kernels and with tf.customGrad. */
export const recordCall = (call: RecordedCall): Tensor => internals().runKernelFunc(call);

/** Takes the next tensor id. Tensors created later have larger ids. */
export const takeTensorId = (): number => internals().nextTensorId();

/**
 * Moves a tensor's data from the backend that holds it to the current one.
 * @throws Error when the tensor is disposed
 */
export function moveToCurrentBackend(dataId: object): void {
  const tfjs = internals();
  if (!tfjs.state.tensorInfo.has(dataId)) throw new Error("the tensor is disposed");
  tfjs.moveData(tfjs.backend, dataId);
}

/** A tensor over data that a kernel has created. The caller disposes of it. */
export const tensorOf = (info: TensorInfo): Tensor => internals().makeTensorFromTensorInfo(info);

/** Stops the CPU backend from advertising the Node binding on the console at its first operation. */
export function silenceCpuBackend<Backend extends KernelBackend>(backend: Backend): Backend {
  (backend as Backend & { firstUse: boolean }).firstUse = false;
  return backend;
}

interface NodeBackend extends KernelBackend {
  isUsingGpuDevice: boolean;
  binding: { TF_Version: string };
}

/**
 * The TensorFlow version of the Node backend, and whether it uses a GPU. The backend must be registered, which
 * importing its package does.
 */
export function describeNodeBackend(): { tensorflowVersion: string; onGpu: boolean } {
  const { binding, isUsingGpuDevice } = findBackend("tensorflow") as NodeBackend;
  return { tensorflowVersion: binding.TF_Version, onGpu: isUsingGpuDevice };
}
