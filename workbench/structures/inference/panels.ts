// The form of a packed GBLR layer whose blocks are sorted into panels (gblr/panels.ts), which is prepared once and then
// applied to many inputs. It exists in memory only, and has no gradient.

import {
  concat,
  gather,
  matMul,
  type Tensor1D,
  type Tensor2D,
  tensor1d,
  tensor2d,
  tidy,
  transpose,
} from "@tensorflow/tfjs-core";
import { panelMatrix, panelProduct } from "../../engine/ops/index.ts";
import { filledUp } from "../../gblr/matrix.ts";
import type { PackedGblr } from "../../gblr/packed.ts";
import { type PanelPlan, panelsOf } from "../../gblr/panels.ts";
import type { Span } from "../../gblr/widths.ts";
import { type HeldMatrix, parametersNamed, type Structure, type StructureParameters } from "../structure.ts";
import { inferenceOnly } from "./inference-only.ts";

const NAMES = ["values_in", "runs_in", "values_out", "runs_out"] as const;

/** The panels of a packed matrix. The caller disposes of the parameters. */
export async function panelsForm(packed: PackedGblr): Promise<HeldMatrix> {
  const { nIn, nOut, values_in, values_out } = packed;
  const { input, output } = panelsOf(await blockSpansOf(packed), { nIn, nOut });
  const parameters = tidy(() => ({
    values_in: valuesAt(values_in, input.index),
    runs_in: runsOf(input),
    values_out: valuesAt(values_out, output.index),
    runs_out: runsOf(output),
  }));
  return { structure: panelStructure({ nIn, nOut, blocks: packed.spans.shape[1] }), parameters };
}

/** The spans of the blocks on both sides. */
export async function blockSpansOf({ spans }: PackedGblr): Promise<{ input: Span[]; output: Span[] }> {
  const blocks = spans.shape[1];
  const values = await spans.data();
  const side = (first: 0 | 2): Span[] =>
    Array.from({ length: blocks }, (_, b) => ({
      start: values[first * blocks + b] as number,
      length: values[(first + 1) * blocks + b] as number,
    }));
  return { input: side(0), output: side(2) };
}

/** Values in the order of a plan, whose index after the last one is a zero. */
export const valuesAt = (values: Tensor1D, index: Int32Array): Tensor1D =>
  gather(concat([values, tensor1d([0])]), tensor1d(index, "int32"));

const runsOf = ({ runs }: PanelPlan): Tensor2D => tensor2d(runs, [4, runs.length / 4], "int32");

function panelStructure({ nIn, nOut, blocks }: { nIn: number; nOut: number; blocks: number }): Structure {
  const sides = (parameters: StructureParameters) => {
    const { values_in, runs_in, values_out, runs_out } = parametersNamed("panels", parameters, NAMES);
    return {
      input: { values: values_in as Tensor1D, runs: runs_in as Tensor2D },
      output: { values: values_out as Tensor1D, runs: runs_out as Tensor2D },
    };
  };
  return {
    ...inferenceOnly("panels"),
    parameterNames: NAMES,
    apply: (parameters, x) => tidy(() => panelProduct(filledUp(x, nIn), { ...sides(parameters), blocks, nOut })),
    dense: (parameters) => {
      const { input, output } = sides(parameters);
      return tidy(() =>
        transpose(matMul(panelMatrix(input, { nIn, nOut: blocks }), panelMatrix(output, { nIn: blocks, nOut }))),
      );
    },
  };
}
