// Reads the description of a checkpoint of the reference implementation: the model's tensors under the names of a model
// folder, without the trainer's prefix and without other tensors, and the "gblr" part of config.json. The reference
// stores σ with each layer, and in the hyper-parameters whether masks have a Gaussian at all.

import { type Checkpoint, openCheckpoint } from "../../../hub/checkpoint/index.ts";
import { FORMAT, ModelError, wrapperOf } from "../../../hub/model-folder/index.ts";
import { type TensorInfo, toFloat32 } from "../../../hub/safetensors/index.ts";
import type { Architecture, ReferenceModels, WeightsFile, WeightsReader } from "../../architectures/architecture.ts";
import { findSetting, isBoolean, isRecord, type Settings } from "../../architectures/parts/checkpoint.ts";
import { ARCHITECTURES } from "../../architectures/registry.ts";

/** Prefix that the trainer's wrapper adds to the model's names. */
const WRAPPER = "model.";

/** A parameter that only GBLR layers have. */
const SIGN = ".lr_weight1";

/** An architecture of which the reference implementation has models. */
export interface ReferenceArchitecture extends Architecture {
  readonly weights: WeightsReader;
  readonly reference: ReferenceModels;
}

/** The model's tensors in a checkpoint of the reference, and their architecture. */
export interface ReadCheckpoint {
  architecture: ReferenceArchitecture;
  /** the tensors under the workbench's names */
  seen: WeightsFile;
  /** from the workbench's names to those in the file */
  names: ReadonlyMap<string, string>;
}

/**
 * Finds the model's tensors in a checkpoint, and their architecture. No values are read.
 * @throws ModelError if the tensors belong to no known architecture, or two of them get the same name
 */
export function readTensors(checkpoint: Checkpoint, file: string): ReadCheckpoint {
  const { tensors, rest, tied } = checkpoint;
  const theirs = unwrapped(checkpoint);
  const architecture = readerFor(infos(checkpoint, theirs), file);
  const names = new Map<string, string>();
  for (const [name, stored] of theirs) {
    const own = architecture.reference.names?.toOurs(name) ?? name;
    if (names.has(own))
      throw new ModelError(`has the name "${own}", which another tensor has too`, { file, tensor: stored });
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
 * Whether a file is a checkpoint of one of the reference's models with GBLR layers. Values of tensors are not read.
 * @throws CheckpointError as openCheckpoint
 */
export async function isReferenceCheckpoint(file: string): Promise<boolean> {
  const checkpoint = await openCheckpoint(file);
  await checkpoint.close();
  const theirs = unwrapped(checkpoint);
  return [...theirs.keys()].some((name) => name.endsWith(SIGN)) && findReader(infos(checkpoint, theirs)) !== undefined;
}

/**
 * The model's own tensors, from the name without the trainer's prefix to the name in the checkpoint. Other tensors,
 * such as those of a loss, are left out.
 */
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
  const problem = `its tensors are of an unknown architecture, such as ${JSON.stringify(first.slice(0, 200))}`;
  throw new ModelError(
    `${problem}; available: ${referenceArchitectures()
      .map(({ type }) => type)
      .join(", ")}`,
    { file },
  );
}

/** The field `gblr` of config.json. */
export interface GblrPart {
  format: typeof FORMAT;
  structure: "gblr";
  /** sigma of all masks, if they have a Gaussian */
  sigma?: number;
  layers: Record<string, { structure: "gblr"; n_in: number; n_out: number; blocks: number }>;
}

/**
 * The "gblr" part of config.json. Reads σ from the checkpoint.
 * @param gaussian whether masks have a Gaussian if the hyper-parameters do not describe GBLR layers
 * @throws ModelError if a layer lacks factors, or layers have different σ
 */
export async function gblrPart(
  checkpoint: Checkpoint,
  { seen, names }: Pick<ReadCheckpoint, "seen" | "names">,
  gaussian: boolean,
): Promise<GblrPart> {
  const part: GblrPart = { format: FORMAT, structure: "gblr", layers: {} };
  const smooth = haveGaussian(seen.rest.hyper_parameters) ?? gaussian;
  for (const [name, { shape }] of seen.tensors) {
    if (!name.endsWith(".lr_weight1")) continue;
    const layer = name.slice(0, -".lr_weight1".length);
    const nOut = seen.tensors.get(`${layer}.lr_weight2`)?.shape[1];
    const place = { file: seen.file, tensor: `${layer}.lr_weight2` };
    if (nOut === undefined) throw new ModelError("is missing", place);
    const [blocks, rank, nIn] = shape;
    if (blocks === undefined || rank === undefined || nIn === undefined) {
      throw new ModelError(`must be (K, r, n_in), is (${shape.join(", ")})`, { ...place, tensor: name });
    }
    part.layers[layer] = { structure: "gblr", n_in: nIn, n_out: nOut, blocks: blocks * rank };
    if (!smooth) continue;
    const stored = names.get(`${layer}.sigma`);
    const [value] = stored === undefined ? [] : toFloat32(await checkpoint.read(stored));
    if (value === undefined || !(value > 0) || (part.sigma !== undefined && part.sigma !== value)) {
      const must =
        part.sigma === undefined ? "must be there and positive" : `must be ${part.sigma}, as in the other layers`;
      throw new ModelError(`${must}, is ${value ?? "missing"}`, { file: seen.file, tensor: `${layer}.sigma` });
    }
    part.sigma = value;
  }
  if (part.sigma !== undefined && !Number.isFinite(part.sigma)) delete part.sigma;
  return part;
}

/**
 * Whether masks have a Gaussian according to the hyper-parameters. The reference's default is true, if they describe
 * layers without the setting `no_gaussian`.
 */
function haveGaussian(hyper: Settings): boolean | undefined {
  const without = findSetting(hyper, ["no_gaussian"], isBoolean);
  if (without !== undefined) return !without;
  return findSetting(hyper, LAYER_SETTINGS, isRecord) ? true : undefined;
}

/** Fields in which the reference's configurations describe GBLR layers. */
const LAYER_SETTINGS = ["gaudi_params", "linear1_cfg"];
