// Opens the trainable form of a model folder: the tensors of model.safetensors, with those of trainable.safetensors in
// place of the packed ones.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, type TensorFile } from "../safetensors/index.ts";
import type { GblrConfig } from "./gblr-config.ts";
import { PACKED_PARTS, REFERENCE_BUFFERS, TRAINABLE_PARTS } from "./gblr-layer.ts";
import { ModelError } from "./layer-tensors.ts";
import { type OpenModel, openModel, TRAINABLE_FILE } from "./open-model.ts";
import { storedStructure } from "./structures.ts";
import { unwrapModel, unwrapTensors, wrapperOf } from "./wrappers.ts";

/**
 * Opens the trainable form of a model folder, or the folder as it is if it has no trainable.safetensors. Prefixes of
 * tensor names are removed as by unwrapModel. The caller closes the tensors.
 * @param own prefixes of the model's own names, as of unwrapModel. Default none
 * @throws errors of openModel; ModelError when trainable.safetensors does not have exactly the GBLR layers of
 * config.json
 */
export async function openTrainable(folder: string, own: readonly string[] = []): Promise<OpenModel> {
  const stored = await openModel(folder);
  const path = join(folder, TRAINABLE_FILE);
  try {
    const model = unwrapModel(stored, own);
    if (model.path === path || !(await stat(path).catch(() => undefined))) return model;
    const above = unwrapTensors(await openSafetensors(path), wrapperOf(stored.tensors.tensors.keys(), own));
    try {
      expectLayersOnly(above, { file: path, below: model.tensors, config: model.config });
      return { ...model, tensors: overlaid(model.tensors, above) };
    } catch (error) {
      await above.close();
      throw error;
    }
  } catch (error) {
    await stored.tensors.close();
    throw error;
  }
}

interface Beside {
  /** path of trainable.safetensors */
  file: string;
  /** tensors of model.safetensors */
  below: TensorFile;
  config: GblrConfig | undefined;
}

/** Checks that no tensor is in both files, and that trainable.safetensors has all tensors of each layer. */
function expectLayersOnly({ tensors }: TensorFile, { file, below, config }: Beside): void {
  const parts: readonly string[] = [...TRAINABLE_PARTS, ...REFERENCE_BUFFERS];
  const layers = [...(config?.layers ?? [])].flatMap(([name, { structure }]) =>
    storedStructure(structure)?.isPacked ? [name] : [],
  );
  const allowed = new Set(layers.flatMap((layer) => parts.map((part) => `${layer}.${part}`)));
  for (const tensor of tensors.keys()) {
    if (below.tensors.has(tensor)) throw new ModelError("is also in model.safetensors", { file, tensor });
    if (allowed.has(tensor)) continue;
    throw new ModelError("is not a parameter of a GBLR layer that config.json lists under gblr.layers", {
      file,
      tensor,
    });
  }
  for (const layer of layers) {
    const missing = TRAINABLE_PARTS.find((part) => !tensors.has(`${layer}.${part}`));
    if (missing) throw new ModelError("is missing", { file, tensor: `${layer}.${missing}` });
  }
}

const PACKED = new RegExp(`\\.(${PACKED_PARTS.join("|")})$`);

/** All tensors of `above`, and those of `below` except packed parameters of layers in `above`. */
function overlaid(below: TensorFile, above: TensorFile): TensorFile {
  const replaced = (name: string) => PACKED.test(name) && above.tensors.has(name.replace(PACKED, ".lr_weight1"));
  const kept = [...below.tensors].filter(([name]) => !replaced(name));
  const fileOf = (name: string) => (above.tensors.has(name) ? above : below);
  return {
    tensors: new Map([...kept, ...above.tensors]),
    read: (name) => fileOf(name).read(name),
    chunks: (name, options) => fileOf(name).chunks(name, options),
    close: async () => {
      await Promise.all([below.close(), above.close()]);
    },
  };
}
