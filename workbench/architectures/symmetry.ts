// Free permutations of a network: units, such as hidden units, heads or channels, whose order does not change the
// function. An architecture lists its symmetries. Each names all places in the parameters where the units are, so that
// moving the units in all of them leaves the outputs as they were. See docs/method.md, section "Permutations".

import { EngineError } from "../engine/core/errors.ts";
import type { Architecture } from "./architecture.ts";
import { type LayerInfo, layersIn, type Module, parametersIn } from "./network.ts";

/**
 * What the units of a symmetry are: `hidden` units of an MLP, `channels` between convolutions, `heads` of attention,
 * `values` and `keys`, which are components of a head, and the components of the residual `stream`.
 */
export const SYMMETRY_KINDS = ["hidden", "channels", "keys", "values", "heads", "stream"] as const;
/** What the units of a symmetry are. */
export type SymmetryKind = (typeof SYMMETRY_KINDS)[number];

/**
 * Where the units of a symmetry are in one parameter: unit i has the indices offset + r · stride + i · each + e of the
 * axis, for r from 0 to repeats − 1 and e from 0 to each − 1.
 */
export interface Member {
  parameter: string;
  /** axis of the parameter in memory */
  axis: number;
  /** index of the first unit */
  offset: number;
  /** consecutive indices that are one unit */
  each: number;
  /** number of times that the units occur on the axis */
  repeats: number;
  /** indices from one occurrence to the next */
  stride: number;
  /** the layer whose weight the parameter is, and the side on which its units are. Default: another parameter */
  of?: { layer: string; side: "in" | "out" };
}

/** Units whose order is free. */
export interface Symmetry {
  /** names the units, e.g. `h.0.mlp.c_proj` for the inputs of this layer */
  name: string;
  kind: SymmetryKind;
  /** number of units */
  size: number;
  members: readonly Member[];
}

/** The architecture's symmetries of a config. Those of parts of a unit precede those of whole units. */
export const symmetriesOf = <Config>(architecture: Architecture<Config>, config: Config): Symmetry[] =>
  (architecture.symmetries?.(config, new Places(architecture.network(config))) ?? []).filter(({ size }) => size > 1);

/** The indices of a symmetry's units on the axis of a member, (repeats, size, each) in a row. */
export function indicesOf({ offset, each, repeats, stride }: Member, size: number): Int32Array {
  const length = size * each;
  return Int32Array.from(
    { length: repeats * length },
    (_, at) => offset + Math.floor(at / length) * stride + (at % length),
  );
}

/** Finds the axes of a network's parameters by the names of its layers. */
export class Places {
  private readonly shapes: ReadonlyMap<string, { shape: readonly number[]; kernel?: boolean }>;
  private readonly layers: ReadonlyMap<string, LayerInfo>;

  constructor(network: readonly Module[]) {
    this.shapes = parametersIn(network);
    this.layers = new Map(layersIn(network).map((layer) => [layer.name, layer]));
  }

  /** Where the outputs of a linear map or convolution are: one axis of its weight, and its bias. */
  outputs(name: string): Member[] {
    return [this.side(name, "out"), ...this.last(`${name}.bias`)];
  }

  /** Where the inputs of a linear map or convolution are; for a convolution its channels. */
  inputs(name: string): Member[] {
    return [this.side(name, "in")];
  }

  /**
   * The last axis of a parameter, or of all parameters below a name: of a normalization, an embedding, or positions.
   * Empty if the network has none.
   */
  last(name: string): Member[] {
    return [...this.shapes].flatMap(([parameter, { shape }]) =>
      parameter === name || parameter.startsWith(`${name}.`) ? [whole(parameter, shape.length - 1)] : [],
    );
  }

  /** Whether the network has this linear map or convolution. */
  has(name: string): boolean {
    return this.shapes.has(`${name}.weight`);
  }

  private side(name: string, side: "in" | "out"): Member {
    const parameter = `${name}.weight`;
    const info = this.shapes.get(parameter);
    if (!info) throw new EngineError(`the network has no layer "${name}"`, "check the symmetries of the architecture");
    const layer = this.layers.get(name);
    const [inputs, outputs] = info.kernel ? [2, 3] : layer?.layout === "in_out" ? [0, 1] : [1, 0];
    return { ...whole(parameter, side === "in" ? inputs : outputs), ...(layer && { of: { layer: name, side } }) };
  }
}

const whole = (parameter: string, axis: number): Member => ({
  ...{ parameter, axis, offset: 0, each: 1, repeats: 1, stride: 0 },
});

/** Places at which units are on axes: parts of whole axes, such as the heads among a layer's outputs. */
export const partsOf = (
  members: readonly Member[],
  { offset = 0, each = 1, repeats = 1, stride = 0 }: Partial<Pick<Member, "offset" | "each" | "repeats" | "stride">>,
): Member[] => members.map((member) => ({ ...member, offset: member.offset + offset, each, repeats, stride }));

/** The units between two linear maps, to which an activation is applied one by one. */
export function hiddenUnits(places: Places, { from, to, size }: { from: readonly string[]; to: string; size: number }) {
  const members = [...from.flatMap((name) => places.outputs(name)), ...places.inputs(to)];
  return { name: to, kind: "hidden", size, members } satisfies Symmetry;
}
