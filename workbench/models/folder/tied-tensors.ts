// Checks the tensors of a file that repeat others, such as a tied head. A config can say that the head is tied while the
// file has another head, for example after training with an untied one: the two contradict each other.

import { ModelError, type OpenModel } from "../../../hub/model-folder/index.ts";
import { type TensorFile, toFloat32 } from "../../../hub/safetensors/index.ts";
import { type Architecture, namesOf } from "../../architectures/architecture.ts";

/**
 * Checks that tensors which repeat others have their values. Both are read only if the file has both.
 * @param prefix of the names in the file
 * @throws ModelError that names a tensor with other values
 */
export async function expectTied<Config>(
  { tensors: file, path }: OpenModel,
  { architecture, config, prefix }: { architecture: Architecture<Config>; config: Config; prefix: string },
): Promise<void> {
  const { tied, storedName } = namesOf(architecture);
  for (const [name, original] of tied?.(config) ?? []) {
    const pair = [storedName(name, prefix), storedName(original, prefix)] as const;
    if (!pair.every((stored) => file.tensors.has(stored)) || (await areEqual(file, pair))) continue;
    throw new ModelError(
      `has other values than ${pair[1]}, although the config says that they are tied; set tie_word_embeddings to false in config.json, or remove the tensor`,
      { file: path, tensor: pair[0] },
    );
  }
}

async function areEqual(file: TensorFile, [first, second]: readonly [string, string]): Promise<boolean> {
  const [a, b] = [file.tensors.get(first), file.tensors.get(second)];
  if (a?.shape.join() !== b?.shape.join()) return false;
  if (a?.dtype !== b?.dtype) {
    const [x, y] = [toFloat32(await file.read(first)), toFloat32(await file.read(second))];
    return x.every((value, i) => Object.is(value, y[i]));
  }
  const others = file.chunks(second)[Symbol.asyncIterator]();
  for await (const chunk of file.chunks(first)) {
    const { value } = await others.next();
    if (value === undefined || Buffer.compare(chunk, value) !== 0) return false;
  }
  return true;
}
