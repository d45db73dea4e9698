// The structure `gblr`: a trainable GBLR matrix (workbench/gblr). It is initialized with as many singular triples of
// full width as are affordable, a narrower one for the rest of the budget, and dead blocks, which still have a
// gradient. Other initializations are in gblr-starts.ts. In inference it has another form (inference/packed.ts).

import { dispose, tidy, transpose } from "@tensorflow/tfjs-core";
import { STORED_GBLR, type StoredLayer } from "../../hub/model-folder/index.ts";
import { expectOperand } from "../engine/ops/operands.ts";
import {
  blocksWithin,
  locationsByRule,
  spendBudget,
  svdFactors,
  type Triples,
  widthsByRule,
  widthValues,
} from "../gblr/init/index.ts";
import type { MaskSettings } from "../gblr/mask.ts";
import { GblrMatrix } from "../gblr/matrix.ts";
import { pack } from "../gblr/packed.ts";
import { tileCost } from "../gblr/tiles/layout.ts";
import { blockUse } from "../gblr/widths.ts";
import { allowance, expectPaid, type MatrixSize } from "./budget.ts";
import { cancellationOf, stepSizesBeside } from "./factor-sizes.ts";
import { layoutCost, layoutOfSpans, layoutOfWidths } from "./gblr-layout.ts";
import { nestedSearch } from "./gblr-sizes.ts";
import { byBlockSearch, nearestInOutputs } from "./gblr-starts.ts";
import { formCosts, formsOfBlocks, packedStructure } from "./inference/packed.ts";
import {
  type BlockLayout,
  type FormCost,
  type HeldMatrix,
  type Inspected,
  parametersNamed,
  type Structure,
  type StructureKind,
  type StructureParameters,
} from "./structure.ts";

interface GblrOptions {
  /**
   * rule for initial widths, e.g. `splr0.25`. Default: blocks of full width and a narrower one, for the whole budget
   */
  widths?: string;
  /** rule for initial locations. Default `linspace` */
  locations?: string;
  /** random seed of `uniform` locations. Default 0 */
  seed?: number;
  /** all singular triples of the matrix, if they are known, so that it is not decomposed again */
  triples?: Triples | undefined;
}

const NAMES = ["lr_weight1", "lr_weight2", "widths", "locations"] as const;

const { name } = STORED_GBLR;

const kind = {
  name,
  stored: STORED_GBLR,
  hasWidths: true,
  starts: { search: byBlockSearch, activation: nearestInOutputs },
  nested: { search: nestedSearch },
  rankCosts: { search: tileCost },
  forLayer: (_, masks) => gblrStructure(masks),
  // A stored layer is packed or trainable.
  forStored: (stored, _, masks) => (stored.readSpans ? packedStructure(stored) : gblrStructure(masks)),
  inspect: inspectStored,
} satisfies StructureKind;

async function inspectStored(stored: StoredLayer, { sigma }: { sigma?: number | undefined }): Promise<Inspected> {
  const { nIn, nOut } = stored;
  if (stored.readSpans) {
    const layout = layoutOfSpans(await stored.readSpans(), { nIn, nOut });
    const forms = formsOfLayout(layout, 1);
    return { cost: layoutCost(layout), blocks: { layout, all: stored.blocks, rank: 1 }, forms };
  }
  if (!stored.readStructure) throw new TypeError(`${stored.name} is not a GBLR layer`);
  const { rank, blocks: all } = stored;
  const places = await stored.readStructure();
  const layout = layoutOfWidths({ ...places, nIn, nOut, ...(sigma !== undefined && { sigma }) });
  return { cost: layoutCost(layout, rank), blocks: { layout, all, rank }, forms: formsOfLayout(layout, rank) };
}

/** The forms of the packed layer, in which a block of rank r is r blocks. */
function formsOfLayout({ nIn, nOut, lengthIn, lengthOut }: BlockLayout, rank: number): FormCost[] {
  const lengths = [...Array.from(lengthIn), ...Array.from(lengthOut)];
  const values = rank * lengths.reduce((sum, length) => sum + length, 0);
  return formCosts({ nIn, nOut, blocks: rank * lengthIn.length, values });
}

/**
 * The structure with these mask settings. Parameters: `lr_weight1`, `lr_weight2`, `widths` and `locations`, see
 * gblr/matrix.ts. `cost` counts live blocks, as the reference does. This is the cost of inference; training may multiply
 * the whole matrix.
 * @param settings read at each product
 */
export function gblrStructure(settings: MaskSettings = {}): Structure<GblrOptions> {
  const matrix = (parameters: StructureParameters, masks = settings) =>
    new GblrMatrix(parametersNamed(name, parameters, NAMES), masks);
  const evaluated = (parameters: StructureParameters) => matrix(parameters, { ...settings, mode: "eval" });
  return {
    ...kind,
    parameterNames: NAMES,
    places: ["widths", "locations"],

    /** @throws EngineError when one block of full width, or the rule's widths, are not affordable within the budget */
    async fromDense(weight, budget, { widths: rule, locations = "linspace", seed = 0, triples } = {}) {
      expectOperand(name, { weight }, { dtype: "float32", shape: ["n_out", "n_in"] });
      const [nOut, nIn] = weight.shape;
      const allowed = expectWithin({ nOut, nIn }, budget, { rule, settings });
      const factors = await svdFactors(weight, { triples });
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
    denseInEvaluation: (parameters) => evaluated(parameters).dense(),

    async withForms(parameters, choose) {
      const whole = evaluated(parameters);
      const { bias: _, nIn, nOut, ...tensors } = await pack(whole);
      try {
        return await choose(formsOfBlocks({ ...tensors, nIn, nOut }, packedStructureOf(whole)));
      } finally {
        for (const tensor of Object.values(tensors)) tensor.dispose();
      }
    },
    async nestedMatrix(parameters, ranks) {
      const packed = await packedForm(matrix(parameters));
      try {
        return await (packed.structure.nestedMatrix as NonNullable<Structure["nestedMatrix"]>)(
          packed.parameters,
          ranks,
        );
      } finally {
        dispose({ ...packed.parameters });
      }
    },
    pack: (parameters) => packedForm(matrix(parameters)),
    stepSizes(parameters) {
      const { lr_weight1, lr_weight2 } = parametersNamed(name, parameters, NAMES);
      return tidy(() => ({
        // (K, rank, 1) and (K, 1, rank)
        lr_weight1: transpose(stepSizesBeside(lr_weight2, 1), [0, 2, 1]),
        lr_weight2: transpose(stepSizesBeside(lr_weight1, 2), [0, 2, 1]),
      }));
    },
    async cancellation(parameters) {
      const whole = evaluated(parameters);
      const { dense, ...factors } = tidy(() => ({ ...whole.factors(), dense: whole.dense() }));
      try {
        return await cancellationOf(factors, dense);
      } finally {
        dispose({ ...factors, dense });
      }
    },
    scalars: () => ({ sigma: settings.sigma ?? Number.POSITIVE_INFINITY }),
    toReference: async (parameters) => ({ parameters, isCopy: false, sigma: settings.sigma }),
  };
}

/** The packed form of a matrix, as a structure with its parameters. */
async function packedForm(matrix: GblrMatrix): Promise<HeldMatrix> {
  const { spans, values_in, values_out } = await pack(matrix);
  return { structure: packedStructureOf(matrix), parameters: { spans, values_in, values_out } };
}

const packedStructureOf = ({ nIn, nOut, blocks, rank }: GblrMatrix): Structure =>
  packedStructure({ nIn, nOut, blocks: blocks * rank });

/**
 * The allowed multiply-adds per row. Without a rule and with smooth masks, they are rounded down to a multiple of the
 * cost of one block of full width, because a smooth mask extends beyond its width.
 * @throws EngineError when the budget is too small
 */
function expectWithin(
  size: MatrixSize,
  budget: number,
  { rule, settings }: { rule: string | undefined; settings: MaskSettings },
): number {
  const { nOut, nIn } = size;
  const allowed = allowance(name, budget, size);
  const cost = rule === undefined ? nOut + nIn : costOfRule(rule, size, settings);
  const what = rule === undefined ? "one block of full width" : `widths "${rule}"`;
  expectPaid({ structure: name, what, cost, budget, nOut, nIn });
  const { sigma = Number.POSITIVE_INFINITY } = settings;
  return sigma === Number.POSITIVE_INFINITY ? allowed : allowed - (allowed % (nOut + nIn));
}

function costOfRule(rule: string, { nOut, nIn }: MatrixSize, { sigma }: MaskSettings): number {
  const widths = widthValues(rule, { blocks: Math.min(nOut, nIn), nIn, nOut });
  return blockUse(widths, { nIn, nOut, ...(sigma !== undefined && { sigma }) }).cost;
}

/** The structure with the initial mask settings: no Gaussian. */
export const gblr: Structure<GblrOptions> = gblrStructure();
