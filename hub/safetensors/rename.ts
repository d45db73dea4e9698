// Tensors of an open file under other names. The file stays as it is.

import type { TensorFile, TensorInfo } from "./types.ts";

/** @param rename must give no two tensors one name */
export function renameTensors<File extends TensorFile>(file: File, rename: (stored: string) => string): File {
  const stored = new Map<string, string>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, info] of file.tensors) {
    const own = rename(name);
    stored.set(own, name);
    tensors.set(own, info);
  }
  const nameOf = (own: string) => stored.get(own) ?? own;
  return { ...file, tensors, read: (own) => file.read(nameOf(own)), chunks: (own) => file.chunks(nameOf(own)) };
}
