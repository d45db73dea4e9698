// Reads the safetensors files under tests/fixtures whole: numbers from an independent implementation that results are
// held against. Not a safetensors library: no checks, float32, float64 and int64 only.

import { readFileSync } from "node:fs";

export interface GoldenTensor {
  shape: number[];
  /** as float64, whatever the file's type */
  values: Float64Array;
}

export interface Golden {
  names: string[];
  /** the file's own remarks, such as its seed */
  metadata: Record<string, string>;
  /** @throws Error when the file has no such tensor */
  get(name: string): GoldenTensor;
}

interface Entry {
  dtype: "F32" | "F64" | "I64";
  shape: number[];
  data_offsets: [number, number];
}

const ARRAYS = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array };

/** @param path below tests/fixtures, e.g. `gblr/shrink.safetensors` */
export function readGolden(path: string): Golden {
  const bytes = new Uint8Array(readFileSync(new URL(`./fixtures/${path}`, import.meta.url)));
  const data = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, data)));
  const get = (name: string): GoldenTensor => {
    const entry = (entries as Record<string, Entry>)[name];
    if (!entry) {
      throw new Error(`${path} has no tensor "${name}"`);
    }
    const [start, end] = entry.data_offsets;
    const aligned = bytes.slice(data + start, data + end).buffer;
    return { shape: entry.shape, values: Float64Array.from(new ARRAYS[entry.dtype](aligned), Number) };
  };
  return { names: Object.keys(entries), metadata, get };
}
