// The architectures whose reference checkpoints can be read. A new one is a line here.

import { ModelError } from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import { architectureOf } from "../registry.ts";
import { gpt2Reader } from "./gpt2.ts";
import type { ReferenceReader } from "./reader.ts";

const READERS: readonly ReferenceReader[] = [gpt2Reader];

/**
 * Whether checkpoints of this architecture become models.
 * @param type `model_type`
 * @throws ModelError when they do not
 */
export function expectReadable(type: string, file: string): void {
  architectureOf(type, file);
  if (READERS.some((reader) => reader.type === type)) return;
  throw new ModelError(`cannot be read from reference checkpoints: it is "${type}", known are ${known()}`, { file });
}

/** @throws ModelError when no architecture has these tensors */
export function readerFor(tensors: ReadonlyMap<string, TensorInfo>, file: string): ReferenceReader {
  const found = READERS.find((reader) => reader.recognises(tensors));
  if (found) return found;
  const [first = "none"] = tensors.keys();
  const problem = `its tensors are of no architecture that is known, such as ${JSON.stringify(first)}; known are`;
  throw new ModelError(`${problem} ${known()}`, { file });
}

const known = (): string => READERS.map(({ type }) => type).join(", ");
