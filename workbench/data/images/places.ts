// Reads the bytes of an image from where they are. Files are opened for each: there may be more of them than a process may
// hold open in all its threads, and next to decoding it costs nothing.

import { openFile } from "../../../hub/files/byte-source.ts";
import { DataError } from "../errors.ts";
import type { ImagePlace } from "./types.ts";

/** @throws DataError when the file is not there, or ends before */
export async function readPlace({ file, start, length }: ImagePlace): Promise<Uint8Array<ArrayBuffer>> {
  const source = await openFile(file, (problem, options) => new DataError(file, problem, options));
  try {
    return await source.read(start, length ?? source.size - start);
  } finally {
    await source.close();
  }
}
