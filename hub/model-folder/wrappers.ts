// What training scripts leave before every name of a checkpoint: DataParallel's `module.`, torch.compile's `_orig_mod.`,
// and the attribute that a script keeps its network in. It says nothing of the model, and is taken off where all names
// have it.

import { renameTensors, type TensorFile } from "../safetensors/index.ts";
import { ModelError } from "./layer-tensors.ts";
import type { OpenModel } from "./open-model.ts";

const WRAPPERS = ["module.", "_orig_mod.", "model.", "backbone.", "net."];

/** What all names begin with, nested in any order, e.g. `module._orig_mod.`; nothing where one name has none of them. */
export function wrapperOf(names: Iterable<string>): string {
  const all = [...names];
  let wrapper = "";
  for (;;) {
    const next = WRAPPERS.find((each) => all.every((name) => name.startsWith(wrapper + each)));
    if (next === undefined || all.length === 0) return wrapper;
    wrapper += next;
  }
}

/**
 * The same tensors under the names of their model.
 * @param wrapper what is taken off where all names begin with it. Default what `wrapperOf` finds
 */
export function unwrapTensors<File extends TensorFile>(file: File, wrapper = wrapperOf(file.tensors.keys())): File {
  if (wrapper === "" || ![...file.tensors.keys()].every((name) => name.startsWith(wrapper))) return file;
  return renameTensors(file, (name) => name.slice(wrapper.length));
}

/**
 * The same model under its own names, also of the layers that config.json lists.
 * @throws ModelError where config.json lists one layer by both of its names
 */
export function unwrapModel(open: OpenModel): OpenModel {
  const wrapper = wrapperOf(open.tensors.tensors.keys());
  if (wrapper === "") return open;
  const own = (name: string) => (name.startsWith(wrapper) ? name.slice(wrapper.length) : name);
  const { config, path } = open;
  const twice = [...(config?.layers.keys() ?? [])].find((name) => own(name) !== name && config?.layers.has(own(name)));
  if (twice !== undefined) {
    throw new ModelError(`config.json lists it under gblr.layers as "${own(twice)}" too`, { file: path, layer: twice });
  }
  const layers = config && new Map(Array.from(config.layers, ([name, layer]) => [own(name), layer]));
  return { ...open, tensors: unwrapTensors(open.tensors), ...(config && layers && { config: { ...config, layers } }) };
}
