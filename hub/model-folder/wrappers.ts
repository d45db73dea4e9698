// Removes prefixes that training scripts add to all names in a checkpoint: `module.` by DataParallel, `_orig_mod.` by
// torch.compile, and the attribute in which a script stores its network.

import { renameTensors, type TensorFile } from "../safetensors/index.ts";
import { ModelError } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";

const WRAPPERS = ["module.", "_orig_mod.", "model.", "backbone.", "net."];

/**
 * The prefix of all names, possibly nested, e.g. `module._orig_mod.`; empty if some name has no such prefix.
 * @param own prefixes of the model's own names, e.g. `model.`. Such a prefix is only a wrapper if names without it still
 * have it: the names of a model without an untied head may all have their own prefix. Default none
 */
export function wrapperOf(names: Iterable<string>, own: readonly string[] = []): string {
  const all = [...names];
  let wrapper = "";
  for (;;) {
    const next = WRAPPERS.find((each) => {
      const whole = wrapper + each;
      const isWrapper = !own.includes(each) || all.some((name) => name.startsWith(whole + each));
      return isWrapper && all.every((name) => name.startsWith(whole));
    });
    if (next === undefined || all.length === 0) return wrapper;
    wrapper += next;
  }
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
  const bare = (name: string) => (name.startsWith(wrapper) ? name.slice(wrapper.length) : name);
  const { config, path } = open;
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
    tensors: unwrapTensors(open.tensors, wrapper),
    ...(config && layers && { config: { ...config, layers } }),
  };
}
