// A GBLR matrix (workbench/gblr) behind the interface of structures: started from singular triples, as many as the
// budget pays for at full width, the others dead but with a gradient. Its learning and its packed form are not here.

import { expectOperand } from "../engine/ops/operands.ts";
import { blockUse } from "../gblr/cost.ts";
import { locationsByRule, svdFactors, widthsByRule } from "../gblr/init/index.ts";
import { GblrMatrix } from "../gblr/matrix.ts";
import type { MaskSettings } from "../gblr/parameters.ts";
import { allowance, expectPaid } from "./budget.ts";
import { parametersNamed } from "./parameters.ts";
import { affordableRank } from "./rank.ts";
import type { Structure, StructureParameters } from "./structure.ts";

export interface GblrOptions {
  /** rule of gblr/init, e.g. `splr0.25`. Default: as many blocks of full width as the budget pays for */
  widths?: string;
  /** rule of gblr/init. Default `linspace` */
  locations?: string;
  /** of `uniform` locations. Default 0 */
  seed?: number;
}

const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;

/** With the masks' settings, which a training loop changes from step to step. */
export interface GblrStructure extends Structure<GblrOptions> {
  /** the parameters as the matrix that they are */
  matrix(parameters: StructureParameters): GblrMatrix;
}

/**
 * Parameters: `lr_weight1`, `lr_weight2`, `widths` and `locations`, see gblr/parameters.ts. `cost` counts live blocks as
 * the reference does: what inference multiplies, where training multiplies with zeros too.
 * @param settings read anew at each product
 */
export function gblrStructure(settings: MaskSettings = {}): GblrStructure {
  const matrix = (parameters: StructureParameters) =>
    new GblrMatrix(parametersNamed("gblr", parameters, NAMES), settings);
  return {
    name: "gblr",
    parameterNames: NAMES,
    matrix,

    /** @throws EngineError when the budget does not pay for one block of full width, or for the widths of the rule */
    async fromDense(weight, budget, { widths: rule, locations = "linspace", seed = 0 } = {}) {
      expectOperand("gblr", { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
      const [nOut, nIn] = weight.shape;
      const blocks = Math.min(nOut, nIn);
      const full = Math.max(1, affordableRank(allowance("gblr", budget, { nOut, nIn }), { nOut, nIn }));
      // half a block more, so that rounding the share down gives `full` blocks whatever the quotient rounds to
      const widths = widthsByRule(rule ?? `lr${Math.min(1, (full + 0.5) / blocks)}`, { blocks, nIn, nOut });
      const { cost } = blockUse(await widths.data(), { nIn, nOut, sigma: settings.sigma });
      const what = rule === undefined ? "one block of full width" : `widths "${rule}"`;
      try {
        expectPaid({ structure: "gblr", what, cost, budget, nOut, nIn });
      } catch (error) {
        widths.dispose();
        throw error;
      }
      const { singularValues, ...factors } = await svdFactors(weight);
      singularValues.dispose();
      return { ...factors, widths, locations: locationsByRule(locations, { blocks, seed }) };
    },

    apply: (parameters, x) => matrix(parameters).apply(x),
    dense: (parameters) => matrix(parameters).dense(),
    cost: (parameters) => matrix(parameters).cost(),
  };
}

/** Masks as at the start of training: rounded, without a Gaussian. */
export const gblr: GblrStructure = gblrStructure();
