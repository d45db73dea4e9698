// Compares the tensors of a file with an architecture before values are read: finds the tensor of each parameter and
// the structure of each layer.

import {
  isDense,
  ModelError,
  type ModelLayers,
  type OpenModel,
  type StoredLayer,
} from "../../../hub/model-folder/index.ts";
import type { TensorInfo } from "../../../hub/safetensors/index.ts";
import { type Architecture, isPassedOver, layersOf, namesOf, parametersOf } from "../../architectures/architecture.ts";
import { type LayerInfo, type ParameterInfo, positionLayers } from "../../architectures/network.ts";
import type { MaskSettings } from "../../gblr/mask.ts";
import { dense } from "../../structures/dense.ts";
import { structureNamed } from "../../structures/registry.ts";
import type { Structure } from "../../structures/structure.ts";
import type { LinearLayer } from "../model.ts";

export interface StoredParameter {
  /** the tensor's name in the file */
  stored: string;
  /** shape in memory, without the padding rows that a table may have in the file */
  shape: readonly number[];
  dtype: "float32" | "int32";
  trainable: boolean;
  /** whether it may be held in half precision: dense weights, embeddings and heads. Default false */
  mayBeHalf?: boolean;
  /** (out, in, rows, columns) in the file, (rows, columns, in, out) in memory. Default false */
  kernel?: boolean;
  /** for a tensor with several parameters: index of this one's first value */
  part?: { first: number };
}

/** The parameters and layers of a stored model. */
export interface StoredModel {
  prefix: string;
  masks: MaskSettings;
  layers: Map<string, LinearLayer>;
  /** in the architecture's order; parameters of a structured layer replace its weight */
  parameters: Map<string, StoredParameter>;
}

export interface StoredParametersOptions<Config> {
  architecture: Architecture<Config>;
  config: Config;
  /** parameters that are not read; the file may lack them or have other shapes. Default none */
  without?: ReadonlySet<string>;
}

/** An open model with its checked layers. */
export type CheckedModel = OpenModel & Pick<ModelLayers, "layers">;

/**
 * The parameters and layers of a stored model.
 * @throws ModelError that names a missing or unexpected tensor, or one of wrong shape
 */
export function storedParameters<Config>(
  open: CheckedModel,
  { architecture, config, without }: StoredParametersOptions<Config>,
): StoredModel {
  const checkpoint = new Checkpoint(open, architecture as Architecture, config);
  const infos = new Map(layersOf(architecture, config).map((layer) => [layer.name, layer]));
  for (const [name, info] of checkpoint.expected) {
    const layer = name.endsWith(".weight") ? infos.get(name.slice(0, -".weight".length)) : undefined;
    if (without?.has(name)) checkpoint.passOver(name);
    else if (layer) checkpoint.addLayer(layer, info);
    else checkpoint.addParameter(name, info);
  }
  checkpoint.expectNoOthers();
  const { prefix, masks, layers, parameters } = checkpoint;
  return { prefix, masks, layers, parameters };
}

/** A file that is compared with an architecture. */
class Checkpoint {
  readonly expected: Map<string, ParameterInfo>;
  readonly prefix: string;
  readonly masks: MaskSettings;
  readonly layers = new Map<string, LinearLayer>();
  readonly parameters = new Map<string, StoredParameter>();
  private readonly claimed = new Set<string>();
  /** structured layers, by their names in the model */
  private readonly structured: Map<string, StoredLayer>;
  /** parameters that share a tensor of the file with others */
  private readonly parts: Map<string, { stored: string; first: number; rows: number }>;
  private readonly open: CheckedModel;
  private readonly architecture: Architecture;
  private readonly config: unknown;

  constructor(open: CheckedModel, architecture: Architecture, config: unknown) {
    [this.open, this.architecture, this.config] = [open, architecture, config];
    this.expected = parametersOf(architecture, config);
    this.prefix = this.findPrefix();
    this.masks = open.config?.sigma === undefined ? {} : { sigma: open.config.sigma };
    this.structured = new Map(
      open.layers
        .filter(({ structure }) => !isDense(structure))
        .map((layer) => [namesOf(architecture).parameterName(layer.name, this.prefix), layer]),
    );
    this.parts = this.findParts();
  }

  addLayer(layer: LayerInfo, info: ParameterInfo): void {
    const held = this.structured.get(layer.name);
    if (held) {
      this.addStructured(layer, held);
      return;
    }
    const positions = this.has(`${layer.name}.weight`) ? [] : positionLayers(layer);
    if (positions.some(({ name }) => this.structured.has(name) || this.has(`${name}.weight`))) {
      for (const position of positions) {
        const { nIn, nOut } = position;
        this.addLayer(position, { shape: [nOut, nIn], start: info.start });
      }
      return;
    }
    this.addParameter(`${layer.name}.weight`, info);
    this.layers.set(layer.name, { ...layer, structure: dense });
  }

  addParameter(name: string, { shape, buffer = false, kernel = false }: ParameterInfo): void {
    const part = this.parts.get(name);
    const moreRows = namesOf(this.architecture).mayHaveMoreRows?.(name) ?? false;
    const stored = part?.stored ?? this.storedName(name);
    const inFile = kernel ? inCheckpoints(shape) : part ? [part.rows, ...shape.slice(1)] : shape;
    const wanted = { shape: inFile, moreRows };
    expectShape(this.find(stored, inFile), wanted, (text) => this.problem(stored, text));
    this.parameters.set(name, {
      stored,
      shape,
      dtype: "float32",
      trainable: !buffer,
      mayBeHalf: shape.length === 2 && !buffer,
      ...(kernel && { kernel }),
      ...(part && { part: { first: part.first } }),
    });
  }

  passOver(name: string): void {
    this.claimed.add(this.storedName(name));
  }

  /** @throws ModelError that names a tensor which is not a parameter */
  expectNoOthers(): void {
    const { architecture, config, expected } = this;
    for (const stored of this.open.tensors.tensors.keys()) {
      if (this.claimed.has(stored)) continue;
      if (isPassedOver(architecture, namesOf(architecture).parameterName(stored, this.prefix), config)) continue;
      const what = `is not a parameter of this ${architecture.type}, which has ${expected.size} parameters by config.json`;
      throw this.problem(stored, what);
    }
  }

  private addStructured(layer: LayerInfo, held: StoredLayer): void {
    if (held.nIn !== layer.nIn || held.nOut !== layer.nOut) {
      const [is, must] = [held, layer].map(({ nIn, nOut }) => `n_in × n_out = ${nIn} × ${nOut}`);
      throw this.problem(held.name, `must have ${must}, has ${is}`);
    }
    const structure = this.structureOf(layer, held);
    this.expectGeometry(layer, held);
    this.layers.set(layer.name, { ...layer, structure });
    for (const parameter of structure.parameterNames) {
      const stored = this.storedName(`${layer.name}.${parameter}`);
      const { shape, dtype } = this.find(stored);
      const { isTrainable = true, fixed = [] } = structure;
      const trainable = isTrainable && !fixed.includes(parameter);
      const own = { stored, shape, dtype: dtype === "I32" ? "int32" : "float32", trainable } as const;
      this.parameters.set(`${layer.name}.${parameter}`, own);
    }
    for (const part of held.buffers) this.claimed.add(this.storedName(`${layer.name}.${part}`));
  }

  private structureOf(layer: LayerInfo, held: StoredLayer): Structure {
    if (!held.isNamed) {
      const has = Object.keys(held.shapes).join(", ");
      throw this.problem(held.name, `has ${has}, but config.json does not give its structure under gblr.layers`);
    }
    const kind = structureNamed(held.structure);
    if (kind.needsConvolution && !layer.convolution) {
      throw this.problem(held.name, `is ${held.structure}, which is for convolutions only`);
    }
    return kind.forStored?.(held, layer, this.masks) ?? kind.forLayer(layer, this.masks);
  }

  private expectGeometry({ convolution, position }: LayerInfo, held: StoredLayer): void {
    const { kernel, stride } = held;
    const fields = Object.entries({ kernel, stride }).filter(([, value]) => value !== undefined);
    if (convolution === undefined && fields.length > 0) {
      const what = position ? "one position of a convolution" : "not a convolution";
      throw this.problem(
        held.name,
        `config.json gives it ${fields.map(([name]) => name).join(" and ")}, but it is ${what}`,
      );
    }
    const told = (value: unknown) => [value].flat().join(" × ");
    for (const [field, value] of fields) {
      const must = told(convolution?.[field as "kernel" | "stride"]);
      if (told(value) === must) continue;
      throw this.problem(held.name, `${field} must be ${must}, config.json says ${told(value)}`);
    }
  }

  private storedName(name: string): string {
    return namesOf(this.architecture).storedName(name, this.prefix);
  }

  private has(name: string): boolean {
    return this.open.tensors.tensors.has(this.storedName(name));
  }

  private find(stored: string, shape?: readonly number[]): TensorInfo {
    const info = this.open.tensors.tensors.get(stored);
    if (!info) throw this.problem(stored, `is missing${shape ? `, must be (${shape.join(", ")})` : ""}`);
    this.claimed.add(stored);
    return info;
  }

  private problem(tensor: string, text: string): ModelError {
    return new ModelError(text, { file: this.open.path, tensor });
  }

  /** The prefix with which most parameters are found, so that errors about missing ones use the file's naming. */
  private findPrefix(): string {
    const { expected, open } = this;
    const { prefixes, storedName } = namesOf(this.architecture);
    const names = [...expected.keys()];
    const found = (prefix: string) => names.filter((name) => open.tensors.tensors.has(storedName(name, prefix))).length;
    const counts = prefixes.map((prefix) => ({ prefix, count: found(prefix) }));
    return counts.reduce((best, each) => (each.count > best.count ? each : best), { prefix: "", count: -1 }).prefix;
  }

  private findParts(): Map<string, { stored: string; first: number; rows: number }> {
    const found = new Map<string, { stored: string; first: number; rows: number }>();
    for (const [stored, names] of namesOf(this.architecture).joined?.(this.config, this.prefix) ?? []) {
      if (!this.open.tensors.tensors.has(stored)) continue;
      const shapes = names.map((name) => (this.expected.get(name) as ParameterInfo).shape);
      const rows = shapes.reduce((sum, [count]) => sum + (count as number), 0);
      const apart = names
        .map((name) => name.replace(/\.(weight|bias)$/, ""))
        .find((layer) => this.structured.has(layer));
      if (apart)
        throw this.problem(stored, `is unexpected: ${this.storedName(apart)}, a part of it, is a separate layer`);
      let first = 0;
      for (const [i, name] of names.entries()) {
        found.set(name, { stored, first, rows });
        first += (shapes[i] as readonly number[]).reduce((product, side) => product * side, 1);
      }
    }
    return found;
  }
}

/** The shape in checkpoints, (out, in, rows, columns), of a kernel (rows, columns, in, out). */
function inCheckpoints(shape: readonly number[]): number[] {
  const [rows, columns, nIn, nOut] = shape as [number, number, number, number];
  return [nOut, nIn, rows, columns];
}

const REAL = new Set(["F64", "F32", "F16", "BF16"]);

function expectShape(
  { dtype, shape }: TensorInfo,
  wanted: { shape: readonly number[]; moreRows: boolean },
  problem: (text: string) => ModelError,
): void {
  const fits =
    REAL.has(dtype) &&
    shape.length === wanted.shape.length &&
    wanted.shape.every((side, axis) => {
      const is = shape[axis] as number;
      return is === side || (axis === 0 && wanted.moreRows && is > side);
    });
  if (fits) return;
  throw problem(`must be float (${wanted.shape.join(", ")}), is ${dtype} (${shape.join(", ")})`);
}
