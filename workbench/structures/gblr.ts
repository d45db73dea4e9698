// A GBLR matrix (workbench/gblr) behind the interface of structures: started from singular triples, as many as the
// budget pays for at full width, one narrower for what is left, the others dead but with a gradient. Its learning and its packed form are not here.

import { expectOperand } from "../engine/ops/operands.ts";
import {
  blocksWithin,
  locationsByRule,
  spendBudget,
  svdFactors,
  widthsByRule,
  widthValues,
} from "../gblr/init/index.ts";
import type { MaskSettings } from "../gblr/mask.ts";
import { GblrMatrix } from "../gblr/matrix.ts";
import { blockUse } from "../gblr/widths.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { parametersNamed } from "./parameters.ts";
import type { Structure, StructureParameters } from "./structure.ts";

export interface GblrOptions {
  /** rule of gblr/init, e.g. `splr0.25`. Default: blocks of full width and one narrower, for all that the budget pays */
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
 * Parameters: `lr_weight1`, `lr_weight2`, `widths` and `locations`, see gblr/matrix.ts. `cost` counts live blocks as
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
      const allowed = expectWithin({ nOut, nIn }, budget, { rule, settings });
      const factors = await svdFactors(weight);
      if (rule === undefined) return { ...(await spendBudget(weight, factors, { allowed, locations, seed })) };
      const { singularValues, ...others } = factors;
      singularValues.dispose();
      const blocks = Math.min(nOut, nIn);
      const widths = widthsByRule(rule, { blocks, nIn, nOut });
      return { ...others, widths, locations: locationsByRule(locations, { blocks, seed }) };
    },

    costWithin(size, budget, { widths: rule } = {}) {
      const allowed = expectWithin(size, budget, { rule, settings });
      return rule === undefined ? blocksWithin(allowed, size).cost : costOfRule(rule, size, settings);
    },

    apply: (parameters, x) => matrix(parameters).apply(x),
    dense: (parameters) => matrix(parameters).dense(),
    cost: (parameters) => matrix(parameters).cost(),
  };
}

/**
 * What is allowed in multiply-adds a row; without a rule in whole blocks of full width where masks are smooth, since a
 * smooth mask reaches further than its width.
 */
function expectWithin(
  size: MatrixSize,
  budget: number,
  { rule, settings }: { rule: string | undefined; settings: MaskSettings },
): number {
  const { nOut, nIn } = size;
  const allowed = allowance("gblr", budget, size);
  const cost = rule === undefined ? nOut + nIn : costOfRule(rule, size, settings);
  const what = rule === undefined ? "one block of full width" : `widths "${rule}"`;
  expectPaid({ structure: "gblr", what, cost, budget, nOut, nIn });
  const { sigma = Number.POSITIVE_INFINITY } = settings;
  return sigma === Number.POSITIVE_INFINITY ? allowed : allowed - (allowed % (nOut + nIn));
}

function costOfRule(rule: string, { nOut, nIn }: MatrixSize, { sigma }: MaskSettings): number {
  const widths = widthValues(rule, { blocks: Math.min(nOut, nIn), nIn, nOut });
  return blockUse(widths, { nIn, nOut, ...(sigma !== undefined && { sigma }) }).cost;
}

/** Masks as at the start of training: rounded, without a Gaussian. */
export const gblr: GblrStructure = gblrStructure();
