// Exports models for tests, and runs the files with onnxruntime.

import { expect } from "bun:test";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { languageLogits } from "../../../workbench/architectures/parts/language-model.ts";
import { convert, type PlanOptions, planConversion } from "../../../workbench/compress/index.ts";
import { exportOnnx, type OnnxOptions } from "../../../workbench/export/onnx/index.ts";
import { classifierLogits, type Model } from "../../../workbench/models/index.ts";
import { ids, taken } from "../../models/tiny.ts";
import { askPython, pythonWith } from "../../python/python.ts";

const python = pythonWith("onnx", "onnxruntime");
export const hasOnnx = python !== undefined;

interface Fed {
  type: "int64" | "float32";
  shape: readonly number[];
  data: readonly number[];
}

/** A run of a file: its inputs, or token ids in pieces of these lengths with padding before them. */
export type Run =
  | { inputs: Readonly<Record<string, Fed>> }
  | { ids: Fed; lengths: readonly number[]; padding: readonly number[] };

/** What onnx and onnxruntime make of a file. */
export interface Answer {
  /** logits of each run */
  results: { shape: number[]; data: number[] }[];
  opset: Record<string, number>;
  producer: string[];
  metadata: Record<string, string>;
  inputs: Record<string, (number | string)[]>;
  outputs: Record<string, (number | string)[]>;
  domains: string[];
  /** operators that are left when what depends on no input is computed */
  run: string[];
  /** tensors whose bytes are in another file */
  external: string[];
}

/** A file to run. */
export interface Request {
  file: string;
  runs: readonly Run[];
}

/** Checks files with onnx.checker, and runs them. */
export const runOnnx = (...requests: readonly Request[]): Promise<Answer[]> =>
  askPython<Answer[]>(python, path.join(import.meta.dir, "runtime.py"), { input: JSON.stringify(requests) });

/** Writes a model. @returns bytes of the tensors in the file */
export async function exported(model: Model, file: string, options: Partial<OnnxOptions> = {}): Promise<number> {
  for await (const event of exportOnnx(model, file, { version: "1.2.3", ...options })) {
    if (event.kind === "written") return event.bytes;
  }
  throw new Error("the export did not end");
}

/** Converts layers in place. Like files, the model then has no blocks of one sample. */
export async function converted(model: Model, options: PlanOptions): Promise<void> {
  const plan = await planConversion(model, options);
  model.masks.mode = "eval";
  for await (const event of convert(model, plan)) if (event.kind === "converted") return;
  throw new Error("the conversion did not end");
}

/** Token ids for a run. */
export const fedIds = (batch: number, tokens: number): Fed => {
  const tensor = ids(batch, tokens);
  const data = [...tensor.dataSync()];
  tensor.dispose();
  return { type: "int64", shape: [batch, tokens], data };
};

/** The workbench's logits of `fedIds`. */
export const logitsOfIds = (model: Model, batch: number, tokens: number): Promise<Float32Array> =>
  taken(tf.tidy(() => languageLogits(model, ids(batch, tokens))));

/** Images for a run, (batch, colors, height, width) as ONNX has them. */
export async function fedImages(images: tf.Tensor4D): Promise<Fed> {
  const turned = tf.transpose(images, [0, 3, 1, 2]);
  return { type: "float32", shape: turned.shape, data: [...(await taken(turned))] };
}

/** The workbench's logits of images. */
export const logitsOfImages = (model: Model, images: tf.Tensor4D): Promise<Float32Array> =>
  taken(tf.tidy(() => classifierLogits(model, images)));

/** Expects values of a shape that differ from the expected ones by at most 1e-4 of the largest. */
export function expectSame(
  found: Answer["results"][number] | undefined,
  shape: readonly number[],
  expected: ArrayLike<number>,
): void {
  expect(found?.shape).toEqual([...shape]);
  const data = found?.data ?? [];
  const scale = Math.max(...Array.from(expected, Math.abs));
  const worst = Math.max(...Array.from(expected, (value, i) => Math.abs(value - (data[i] as number))));
  expect(scale).toBeGreaterThan(0.1);
  expect(data.length).toBe(expected.length);
  expect(worst / scale).toBeLessThan(1e-4);
}
