// A whole module, as `torch.save(model)` pickles it: the record of an object whose state has its parameters, its buffers
// and its modules. Its tensors are found under the names that state_dict gives them; nothing of its class is looked at.

import { Dict, Instance, type PickleValue, SetOf } from "./pickle-values.ts";

/** Whether an object with this state is a torch.nn.Module. */
export function isModuleState(state: PickleValue): state is Dict {
  return ["_parameters", "_modules"].every((part) => partOf(state, part) !== undefined);
}

export interface ModuleParts {
  /** parameters and buffers, in the order of state_dict: without those that are None, and buffers that are not persistent */
  tensors: Map<PickleValue, PickleValue>;
  modules: ReadonlyMap<PickleValue, PickleValue>;
  /** attributes of its own, such as the heads of an attention layer */
  attributes: Map<PickleValue, PickleValue>;
}

export type Module = Instance & { state: Dict };

export const isModule = (value: PickleValue): value is Module =>
  value instanceof Instance && isModuleState(value.state);

export function partsOfModule({ state }: Module): ModuleParts {
  const { entries } = state;
  const notPersistent = entries.get("_non_persistent_buffers_set");
  const hidden = new Set(notPersistent instanceof SetOf ? notPersistent.items : []);
  const buffers = [...(partOf(state, "_buffers") ?? [])].filter(([name]) => !hidden.has(name));
  const tensors = [...(partOf(state, "_parameters") ?? []), ...buffers].filter(([, tensor]) => tensor !== null);
  const attributes = [...entries].filter(([name]) => typeof name === "string" && !name.startsWith("_"));
  return {
    tensors: new Map(tensors),
    modules: partOf(state, "_modules") ?? new Map(),
    attributes: new Map(attributes),
  };
}

/** The entries of a dictionary that a module has under this name. */
function partOf(state: PickleValue, name: string): ReadonlyMap<PickleValue, PickleValue> | undefined {
  const part = state instanceof Dict ? state.entries.get(name) : undefined;
  return part instanceof Dict ? part.entries : undefined;
}
