// Removes prefixes that training scripts add to all names in a checkpoint: `module.` by DataParallel, `_orig_mod.` by
// torch.compile, and the attribute in which a script stores its network.

import { renameTensors, type TensorFile } from "../safetensors/index.ts";
import { ModelError } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";

const WRAPPERS = ["module.", "_orig_mod.", "model.", "backbone.", "net."];

/**
 * The prefix of all names, possibly nested, e.g. `module._orig_mod.`; empty if some name has no such prefix.
 * @param own prefixes of the model's own names, e.g. `model.`, which all names of a model with a tied head have. If the
 * prefix ends with one of them, this last part stays in the names, unless it also follows in some name. Default none
 */
export function wrapperOf(names: Iterable<string>, own: readonly string[] = []): string {
  const all = [...names];
  let [before, wrapper] = ["", ""];
  for (;;) {
    const next = WRAPPERS.find((each) => all.every((name) => name.startsWith(wrapper + each)));
    if (next === undefined || all.length === 0) break;
    [before, wrapper] = [wrapper, wrapper + next];
  }
  const last = wrapper.slice(before.length);
  const isOwn = own.includes(last) && !all.some((name) => name.startsWith(wrapper + last));
  return isOwn ? before : wrapper;
}

/**
 * The same tensors without the prefix.
 * @param wrapper prefix, removed if all names have it. Default `wrapperOf` the names
 */
export function unwrapTensors<File extends TensorFile>(file: File, wrapper = wrapperOf(file.tensors.keys())): File {
  if (wrapper === "" || ![...file.tensors.keys()].every((name) => name.startsWith(wrapper))) return file;
  return renameTensors(file, (name) => name.slice(wrapper.length));
}

/**
 * The same model without the prefix, also in the layers of config.json.
 * @param own as of `wrapperOf`
 * @throws ModelError when config.json lists a layer both with and without the prefix
 */
export function unwrapModel(open: OpenModel, own: readonly string[] = []): OpenModel {
  const wrapper = wrapperOf(open.tensors.tensors.keys(), own);
  if (wrapper === "") return open;
  const { config, path } = open;
  const tensors = unwrapTensors(open.tensors, wrapper);
  const held = new Set(Array.from(tensors.tensors.keys(), (name) => name.replace(/\.[^.]*$/, "")));
  // config.json may already have the names without the wrapper, which may begin like it.
  const bare = (name: string) => (held.has(name) || !name.startsWith(wrapper) ? name : name.slice(wrapper.length));
  const twice = [...(config?.layers.keys() ?? [])].find(
    (name) => bare(name) !== name && config?.layers.has(bare(name)),
  );
  if (twice !== undefined) {
    throw new ModelError(`config.json also lists it under gblr.layers as "${bare(twice)}"`, {
      file: path,
      layer: twice,
    });
  }
  const layers = config && new Map(Array.from(config.layers, ([name, layer]) => [bare(name), layer]));
  return {
    ...open,
    tensors,
    ...(config && layers && { config: { ...config, layers } }),
  };
}
