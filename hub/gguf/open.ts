// Opens a model in GGUF: one file, or all files of a model that llama.cpp's gguf-split divided
// (NAME-00001-of-00003.gguf and so on). The metadata are those of the first file.

import { type ByteSource, openFile } from "../files/byte-source.ts";
import { type GgufFile, type GgufTensor, readHeader } from "./header.ts";
import { GgufError } from "./types.ts";

/** An open model, which the caller closes. */
export interface OpenGguf extends GgufFile {
  close(): Promise<void>;
}

/** Whether a path names a GGUF file. */
export const isGguf = (path: string): boolean => /\.gguf$/i.test(path);

const PART = /-(\d{5})-of-(\d{5})(\.gguf)$/i;

/**
 * Opens a model.
 * @param file path of the file, or of the first of several
 * @throws GgufError if a file is missing, is no GGUF of version 2 or 3, or breaks a rule of the format
 */
export async function openGguf(file: string): Promise<OpenGguf> {
  const sources: ByteSource[] = [];
  const close = async () => {
    for (const source of sources) await source.close();
  };
  const open = async (path: string) => {
    const source = await openFile(path, (problem, options) => new GgufError(problem, { file: path }, options));
    sources.push(source);
    return readHeader(source, path);
  };
  try {
    const first = await open(file);
    const count = first.metadata.count("split.count") ?? 1;
    if (count < 2) return { ...first, close };
    const tensors = new Map<string, GgufTensor>(first.tensors);
    for (const path of otherParts(first, count)) {
      for (const [name, tensor] of (await open(path)).tensors) {
        if (tensors.has(name)) throw new GgufError("is in another part of the model too", { file: path, tensor: name });
        tensors.set(name, tensor);
      }
    }
    return { ...first, tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Paths of all files of the model of which `path` is the first, by its name. */
export function partsOf(path: string): string[] {
  const [, , total] = PART.exec(path) ?? [];
  return Array.from({ length: Number(total ?? 1) }, (_, i) => {
    const number = String(i + 1).padStart(5, "0");
    return path.replace(PART, (_, __, of: string, end: string) => `-${number}-of-${of}${end}`);
  });
}

/** Paths of all files of a divided model but the first. */
function otherParts({ file, metadata }: GgufFile, count: number): string[] {
  const [name, number, total] = PART.exec(file) ?? [];
  if (name === undefined || Number(total) !== count) {
    const expected = `-00001-of-${String(count).padStart(5, "0")}.gguf`;
    throw new GgufError(`is one of ${count} files of a model; its name must end with ${expected}`, { file });
  }
  if (Number(number) !== 1 || (metadata.count("split.no") ?? 0) !== 0) {
    throw new GgufError(`is file ${Number(number)} of ${count} of a model; give the first`, { file });
  }
  return partsOf(file).slice(1);
}
