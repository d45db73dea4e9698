// The tensors of a checkpoint that are the model's, by the names that they have in a model folder. What the trainer put
// before names is taken off, what it has beside the model is left out.

import { type Checkpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { ModelError, wrapperOf } from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import type { Architecture, ReferenceModels, WeightsFile, WeightsReader } from "../../architectures/architecture.ts";
import { ARCHITECTURES } from "../../architectures/registry.ts";

/** What the trainer's wrapper puts before the model's names. */
const WRAPPER = "model.";

/** A parameter that only GBLR layers have. */
const SIGN = ".lr_weight1";

/** An architecture that the reference implementation has models of. */
export interface ReferenceArchitecture extends Architecture {
  readonly weights: WeightsReader;
  readonly reference: ReferenceModels;
}

export interface ReadCheckpoint {
  architecture: ReferenceArchitecture;
  /** under our names */
  seen: WeightsFile;
  /** our names to those in the file */
  names: ReadonlyMap<string, string>;
}

/** @throws ModelError when no architecture has these tensors, or two of them are one in our naming */
export function readTensors(checkpoint: Checkpoint, file: string): ReadCheckpoint {
  const { tensors, rest, tied } = checkpoint;
  const theirs = unwrapped(checkpoint);
  const architecture = readerFor(infos(checkpoint, theirs), file);
  const names = new Map<string, string>();
  for (const [name, stored] of theirs) {
    const own = architecture.reference.names?.toOurs(name) ?? name;
    if (names.has(own)) throw new ModelError(`is "${own}", which is there already`, { file, tensor: stored });
    names.set(own, stored);
  }
  const ours = new Map(Array.from(names, ([name, stored]) => [stored, name]));
  const ties = Array.from(tied, ([from, to]) => [ours.get(from), ours.get(to)] as const);
  const known = ties.filter((tie): tie is [string, string] => tie[0] !== undefined && tie[1] !== undefined);
  const seen = { file, rest, tensors: new Map<string, TensorInfo>(), tied: new Map(known) };
  for (const [name, stored] of names) seen.tensors.set(name, tensors.get(stored) as TensorInfo);
  return { architecture, seen, names };
}

/**
 * Whether a file is a checkpoint of one of the reference's models, with GBLR layers. Opens it and reads no tensor.
 * @throws CheckpointError as openCheckpoint
 */
export async function isReferenceCheckpoint(file: string): Promise<boolean> {
  const checkpoint = await openCheckpoint(file);
  await checkpoint.close();
  const theirs = unwrapped(checkpoint);
  return [...theirs.keys()].some((name) => name.endsWith(SIGN)) && findReader(infos(checkpoint, theirs)) !== undefined;
}

/** The model's own tensors: name to name in the checkpoint. Others, such as a loss's, are the trainer's. */
function unwrapped({ tensors }: Checkpoint): Map<string, string> {
  const names = [...tensors.keys()];
  const own = names.filter((name) => name.startsWith(WRAPPER));
  const wrapper = wrapperOf(own.length === 0 ? names : own);
  return new Map((own.length === 0 ? names : own).map((name) => [name.slice(wrapper.length), name]));
}

const infos = ({ tensors }: Checkpoint, names: ReadonlyMap<string, string>): Map<string, TensorInfo> =>
  new Map(Array.from(names, ([name, stored]) => [name, tensors.get(stored) as TensorInfo]));

const referenceArchitectures = (): ReferenceArchitecture[] =>
  ARCHITECTURES.filter(
    (each): each is ReferenceArchitecture => each.weights !== undefined && each.reference !== undefined,
  );

/** @returns undefined when no architecture has these tensors */
const findReader = (tensors: ReadonlyMap<string, TensorInfo>): ReferenceArchitecture | undefined =>
  referenceArchitectures().find(({ weights }) => weights.recognizes(tensors));

/** @throws ModelError when no architecture has these tensors */
function readerFor(tensors: ReadonlyMap<string, TensorInfo>, file: string): ReferenceArchitecture {
  const found = findReader(tensors);
  if (found) return found;
  const [first = "none"] = tensors.keys();
  const problem = `its tensors are of no architecture that is known, such as ${JSON.stringify(first.slice(0, 200))}`;
  throw new ModelError(
    `${problem}; known are ${referenceArchitectures()
      .map(({ type }) => type)
      .join(", ")}`,
    { file },
  );
}
