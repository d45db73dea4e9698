// The architectures whose reference checkpoints can be read. A new one is a line here.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import { gpt2Reader } from "../../architectures/gpt2/checkpoint.ts";
import type { ReferenceReader } from "../../architectures/reader.ts";
import { resnetReader } from "../../architectures/resnet/checkpoint.ts";
import { vitReader } from "../../architectures/vit/checkpoint.ts";

const READERS: readonly ReferenceReader[] = [gpt2Reader, vitReader, resnetReader];

/** @returns undefined when no architecture has these tensors */
export const findReader = (tensors: ReadonlyMap<string, TensorInfo>): ReferenceReader | undefined =>
  READERS.find((reader) => reader.recognizes(tensors));

/** @throws ModelError when no architecture has these tensors */
export function readerFor(tensors: ReadonlyMap<string, TensorInfo>, file: string): ReferenceReader {
  const found = findReader(tensors);
  if (found) return found;
  const [first = "none"] = tensors.keys();
  const problem = `its tensors are of no architecture that is known, such as ${JSON.stringify(first.slice(0, 200))}`;
  throw new ModelError(`${problem}; known are ${READERS.map(({ type }) => type).join(", ")}`, { file });
}
