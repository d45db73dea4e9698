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
import { STORED_GBLR } from "../../../hub/model-folder/index.ts";
import { EngineError } from "../../engine/core/errors.ts";
import { panelMatrix, panelProduct } from "../../engine/ops/index.ts";
import { filledUp } from "../../gblr/matrix.ts";
import type { PackedGblr } from "../../gblr/packed.ts";
import { type PanelPlan, panelsOf } from "../../gblr/panels.ts";
import type { Span } from "../../gblr/widths.ts";
import { type HeldMatrix, parametersNamed, type Structure, type StructureParameters } from "../structure.ts";

const NAMES = ["values_in", "runs_in", "values_out", "runs_out"] as const;

/** The panels of a packed matrix. The caller disposes of the parameters. */
export async function panelsForm(packed: PackedGblr): Promise<HeldMatrix> {
  const { nIn, nOut, values_in, values_out } = packed;
  const { input, output } = panelsOf(await spansOf(packed), { nIn, nOut });
  const parameters = tidy(() => ({
    values_in: taken(values_in, input),
    runs_in: runsOf(input),
    values_out: taken(values_out, output),
    runs_out: runsOf(output),
  }));
  return { structure: panelStructure({ nIn, nOut, blocks: packed.spans.shape[1] }), parameters };
}

async function spansOf({ spans }: PackedGblr): Promise<{ input: Span[]; output: Span[] }> {
  const blocks = spans.shape[1];
  const values = await spans.data();
  const side = (first: 0 | 2): Span[] =>
    Array.from({ length: blocks }, (_, b) => ({
      start: values[first * blocks + b] as number,
      length: values[(first + 1) * blocks + b] as number,
    }));
  return { input: side(0), output: side(2) };
}

/** Values in the order of panels, with zeros between them. */
const taken = (values: Tensor1D, { index }: PanelPlan): Tensor1D =>
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
    name: "panels",
    stored: STORED_GBLR,
    isStoredOnly: true,
    isTrainable: false,
    parameterNames: NAMES,
    fromDense: () => Promise.reject(noConversion()),
    costWithin: () => {
      throw noConversion();
    },
    apply: (parameters, x) => tidy(() => panelProduct(filledUp(x, nIn), { ...sides(parameters), blocks, nOut })),
    dense: (parameters) => {
      const { input, output } = sides(parameters);
      return tidy(() =>
        transpose(matMul(panelMatrix(input, { nIn, nOut: blocks }), panelMatrix(output, { nIn: blocks, nOut }))),
      );
    },
    cost: async (parameters) => {
      const { values_in, values_out } = parametersNamed("panels", parameters, NAMES);
      return values_in.size + values_out.size;
    },
  };
}

const noConversion = () => new EngineError("layers cannot be converted to panels", 'use "gblr"');
