// BitwiseAnd of int32 tensors as a WebGPU program, the one elementwise kernel that TensorFlow.js's WebGPU backend lacks.

import * as tf from "@tensorflow/tfjs-core";

/** What that backend asks of a program; its own type is not exported as such. */
interface Program {
  variableNames: string[];
  outputShape: number[];
  shaderKey: string;
  workgroupSize: [number, number, number];
  dispatchLayout: { x: number[] };
  dispatch: [number, number, number];
  /** declares `uniforms.size`, the number of outputs */
  size: boolean;
  getUserCode(): string;
}

type ProgramBackend = tf.KernelBackend & {
  runWebGPUProgram(program: Program, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
};

const THREADS = 128;

function bitwiseAndProgram(outputShape: number[]): Program {
  return {
    variableNames: ["A", "B"],
    outputShape,
    shaderKey: "bitwiseAnd",
    workgroupSize: [THREADS, 1, 1],
    dispatchLayout: { x: outputShape.map((_, axis) => axis) },
    dispatch: [Math.ceil(tf.util.sizeFromShape(outputShape) / THREADS), 1, 1],
    size: true,
    getUserCode: () => `
      fn main(index : i32) {
        if (index < uniforms.size) {
          setOutputAtIndexI32(index, A[index] & B[index]);
        }
      }`,
  };
}

export function registerBitwiseAnd(): void {
  tf.registerKernel({
    kernelName: tf.BitwiseAnd,
    backendName: "webgpu",
    kernelFunc: ({ inputs, backend }) => {
      const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
      return (backend as ProgramBackend).runWebGPUProgram(bitwiseAndProgram(a.shape), [a, b], "int32");
    },
  });
}
