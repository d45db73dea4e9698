// The contract with TensorFlow.js's private state: each field that workbench/engine/tfjs uses exists and has the shape
// that it is used with. A release of TensorFlow.js that changes one of them fails here, by name, before it fails
// anywhere else.

import { describe, expect, test } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError } from "../../workbench/engine/core/errors.ts";
import { openEngine, probeEngine } from "../../workbench/engine/core/open.ts";
import { assertVersion } from "../../workbench/engine/tfjs/internals.ts";

type Fields = Record<string, unknown>;
const typeOf = (value: unknown): string => (Array.isArray(value) ? "array" : value === null ? "null" : typeof value);

/** The fields of an object as `name: type`, those asked for only. */
const typesOf = (object: object, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, typeOf((object as Fields)[name])]));

/** @returns what `names` should be: all of one type */
const allOf = (type: string, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, type]));

describe("the private state of @tensorflow/tfjs-core", () => {
  test("is that of the checked version", () => {
    expect(() => assertVersion("@tensorflow/tfjs-core", tf.version_core)).not.toThrow();
    for (const version of ["4.21.0", "4.220.0", "5.0.0", "4.22"]) {
      expect(() => assertVersion("@tensorflow/tfjs-core", version)).toThrow(
        new EngineError(
          `@tensorflow/tfjs-core is version ${version}, but its private state was only checked for 4.22`,
          "install @tensorflow/tfjs-core@4.22",
        ),
      );
    }
  });

  test("has the methods that record an operation and move a tensor", () => {
    const methods = ["isTapeOn", "nextTensorId", "runKernelFunc", "moveData", "makeTensorFromTensorInfo"];
    expect(typesOf(tf.engine(), methods)).toEqual(allOf("function", methods));
  });

  test("counts tensors upwards", async () => {
    await openEngine({ engine: "cpu" });
    const { nextTensorId } = tf.engine() as unknown as { nextTensorId(): number };
    const before = nextTensorId.call(tf.engine());
    const x = tf.scalar(1);
    expect(x.id).toBeGreaterThan(before);
    expect(nextTensorId.call(tf.engine())).toBeGreaterThan(x.id);
    x.dispose();
  });

  test("knows the data of live tensors only", async () => {
    await openEngine({ engine: "cpu" });
    const { tensorInfo } = tf.engine().state as unknown as { tensorInfo: WeakMap<object, unknown> };
    const x = tf.scalar(1);
    expect(tensorInfo.has(x.dataId)).toBe(true);
    x.dispose();
    expect(tensorInfo.has(x.dataId)).toBe(false);
  });

  test("records each operation as a node of the tape, with what it saved", async () => {
    await openEngine({ engine: "cpu" });
    const state = tf.engine().state as unknown as { activeTape?: Fields[] | null; gradientDepth: number };
    expect(state.gradientDepth).toBe(0);
    let nodes: Fields[] = [];
    const x = tf.scalar(3);
    const gradient = tf.grad((x) => {
      expect(state.gradientDepth).toBe(1);
      const y = tf.square(x);
      nodes = [...(state.activeTape as Fields[])];
      return y;
    })(x);
    const node = nodes.find(({ kernelName }) => kernelName === "Square") as Fields;
    expect(typesOf(node, ["id", "kernelName", "inputs", "outputs", "saved", "gradient"])).toEqual({
      id: "number",
      kernelName: "string",
      inputs: "object",
      outputs: "array",
      saved: "array",
      gradient: "function",
    });
    expect((node.inputs as tf.NamedTensorMap).x).toBeInstanceOf(tf.Tensor);
    expect((node.outputs as tf.Tensor[])[0]).toBeInstanceOf(tf.Tensor);
    const [saved] = node.saved as tf.Tensor[];
    expect(saved?.kept).toBe(true);
    // A saved tensor is a clone, which is itself recorded: what freeing an unfinished operation relies on.
    const clone = nodes.find(({ outputs }) => (outputs as tf.Tensor[])[0] === saved) as Fields;
    expect((clone.inputs as tf.NamedTensorMap).x?.dataId).toBe(saved?.dataId as object);
    tf.dispose([x, gradient]);
    expect(state.gradientDepth).toBe(0);
  });

  test("ships gradients that take dy, the saved tensors and the attributes", async () => {
    await openEngine({ engine: "cpu" });
    for (const kernelName of [tf.Sum, tf.Mean, tf.BatchMatMul]) {
      const config = tf.getGradient(kernelName);
      expect(typesOf(config, ["kernelName", "gradFunc"])).toEqual({ kernelName: "string", gradFunc: "function" });
    }
    expect(tf.getGradient(tf.Sum).inputsToSave).toEqual(["x"]);
  });

  test("passes kernels a list where they take any number of tensors", async () => {
    await openEngine({ engine: "cpu" });
    const run = (inputs: unknown) => tf.engine().runKernel<tf.Tensor>(tf.AddN, inputs as tf.NamedTensorMap);
    const parts = [tf.scalar(1), tf.scalar(2)];
    const total = run(parts);
    expect(Array.from(await total.data())).toEqual([3]);
    tf.dispose([...parts, total]);
  });
});

describe("the private state of the backends", () => {
  test("cpu: whether it has been used", async () => {
    const { MathBackendCPU } = await import("@tensorflow/tfjs-backend-cpu");
    expect(typesOf(new MathBackendCPU(), ["firstUse"])).toEqual({ firstUse: "boolean" });
  });

  test("wasm: memory, tensors in it and functions by name", async () => {
    await openEngine({ engine: "wasm" });
    const backend = tf.backend() as unknown as Fields & {
      wasm: Fields & { tfjs: Fields };
      dataIdMap: { get(dataId: object): Fields };
      dataIdNextNumber: number;
    };
    const methods = ["makeOutput", "disposeData", "incRef", "readSync", "write"];
    expect(typesOf(backend, methods)).toEqual(allOf("function", methods));
    expect(backend.wasm.HEAPU8).toBeInstanceOf(Uint8Array);
    expect(typeOf(backend.wasm.cwrap)).toBe("function");
    const functions = ["registerTensor", "disposeData"];
    expect(typesOf(backend.wasm.tfjs, functions)).toEqual(allOf("function", functions));
    const before = backend.dataIdNextNumber;
    const x = tf.tensor([1.5, -2], [2], "float32");
    await x.data();
    expect(backend.dataIdNextNumber).toBeGreaterThan(before);
    const held = backend.dataIdMap.get(x.dataId);
    expect(typesOf(held, ["id", "memoryOffset", "shape", "dtype"])).toEqual({
      id: "number",
      memoryOffset: "number",
      shape: "array",
      dtype: "string",
    });
    const heap = backend.wasm.HEAPU8 as Uint8Array;
    expect([...new Float32Array(heap.buffer, held.memoryOffset as number, 2)]).toEqual([1.5, -2]);
    x.dispose();
  });

  test("webgpu: the methods that are guarded and called", async () => {
    const { WebGPUBackend } = await import("@tensorflow/tfjs-backend-webgpu");
    const methods = ["runWebGPUProgram", "endComputePassEncoder", "submitQueue", "read", "readSync"];
    expect(typesOf(WebGPUBackend.prototype, methods)).toEqual(allOf("function", methods));
  });

  test("webgpu: the device, its tensors and the commands that wait", async () => {
    const probe = await probeEngine("webgpu");
    if (!probe.available) return console.log(`not tested: fields of an open webgpu backend (${probe.reason})`);
    await openEngine({ engine: "webgpu" });
    const backend = tf.backend() as unknown as Fields & { device: GPUDevice; tensorMap: Map<object, Fields> };
    expect(typesOf(backend, ["device", "tensorMap"])).toEqual({ device: "object", tensorMap: "object" });
    expect("commandEncoder" in backend).toBe(true);
    expect(typeOf(backend.device.limits.maxStorageBuffersPerShaderStage)).toBe("number");
    const x = tf.tensor([1, 2], [2], "float32");
    const held = backend.tensorMap.get(x.dataId) as Fields;
    expect(typesOf(held, ["values", "dtype", "shape"])).toEqual({ values: "object", dtype: "string", shape: "array" });
    const y = tf.matMul(tf.ones([2, 2]), tf.ones([2, 2]));
    expect((backend.tensorMap.get(y.dataId) as Fields).values ?? null).toBeNull();
    tf.dispose([x, y]);
  });
});
