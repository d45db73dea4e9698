// The form of a packed GBLR layer whose blocks are sorted into tiles (gblr/block-tiles.ts), which is prepared once and then
// applied to many inputs. It exists in memory only, and has no gradient.

import { eye, type Tensor, type Tensor1D, type Tensor2D, tidy, transpose } from "@tensorflow/tfjs-core";
import { tileProduct } from "../../engine/ops/index.ts";
import { type TilePlans, tilesOf } from "../../gblr/block-tiles.ts";
import { filledUp } from "../../gblr/matrix.ts";
import type { PackedGblr } from "../../gblr/packed.ts";
import { type HeldMatrix, parametersNamed, type Structure, type StructureParameters } from "../structure.ts";
import { inferenceOnly } from "./inference-only.ts";
import { blockSpansOf, valuesAt } from "./panels.ts";

const NAMES = ["values_in", "values_out"] as const;

/** The tiles of a packed matrix. The caller disposes of the parameters. */
export async function tilesForm(packed: PackedGblr): Promise<HeldMatrix> {
  const { nIn, nOut, values_in, values_out } = packed;
  const plans = tilesOf(await blockSpansOf(packed), { nIn, nOut });
  const parameters = tidy(() => ({
    values_in: valuesAt(values_in, plans.input.index),
    values_out: valuesAt(values_out, plans.output.index),
  }));
  return { structure: tileStructure(plans, { nIn, nOut, blocks: packed.spans.shape[1] }), parameters };
}

function tileStructure(
  { input: { tiles: tilesIn }, output: { tiles: tilesOut } }: TilePlans,
  { nIn, nOut, blocks }: { nIn: number; nOut: number; blocks: number },
): Structure {
  const product = (parameters: StructureParameters, x: Tensor): Tensor => {
    const { values_in, values_out } = parametersNamed("tiles", parameters, NAMES);
    const [valuesIn, valuesOut] = [values_in as Tensor1D, values_out as Tensor1D];
    return tileProduct(x, { valuesIn, tilesIn, valuesOut, tilesOut, blocks, nOut });
  };
  return {
    ...inferenceOnly("tiles"),
    parameterNames: NAMES,
    apply: (parameters, x) => tidy(() => product(parameters, filledUp(x, nIn))),
    dense: (parameters) => tidy(() => transpose(product(parameters, eye(nIn)) as Tensor2D)),
  };
}
