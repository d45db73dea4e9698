// What a conversion is going to do, as plain data: which layers, into what, and what each may cost. Made by plan.ts,
// carried out by convert.ts, printed by whoever wants to.

import type { Counts } from "../architectures/count.ts";
import type { ConvolutionInfo, LayerInfo } from "../models/index.ts";

/** How the budget is shared out: the same share for each layer, or by their singular values. */
export const ALLOCATIONS = ["uniform", "global"] as const;
export type Allocation = (typeof ALLOCATIONS)[number];

/** A convolution as one matrix of the patches under its kernel, or as one matrix for each position of it. */
export const CONVOLUTIONS = ["integrated", "per-kernel"] as const;
export type Convolutions = (typeof CONVOLUTIONS)[number];

export interface PlannedLayer {
  /** by the checkpoint's name, without `.weight` */
  name: string;
  nIn: number;
  nOut: number;
  /** of a convolution that is one matrix; n_in is rows · columns · channels */
  convolution?: ConvolutionInfo;
  /** of one position of a convolution's kernel */
  position?: NonNullable<LayerInfo["position"]>;
  /** what it becomes; `dense` where factors would cost as much as the matrix: it then stays as it is */
  structure: string;
  /** rows that go through it in one pass of the model, as the count that the budget is about sees it */
  rows: number;
  /** multiply-adds a row before, n_in · n_out */
  dense: number;
  /** multiply-adds a row that it may take */
  allowed: number;
  /** multiply-adds a row that it will take; a search, which decides while it runs, may end below */
  cost: number;
}

/** Of all layers of a plan, in multiply-adds of one pass of the model. */
export interface PlanTotals {
  dense: number;
  /** what the budget allows all layers together; what single ones may take is rounded up and down around it */
  allowed: number;
  cost: number;
  /** allowed / dense */
  budget: number;
  /** cost / dense */
  share: number;
}

export interface ConversionPlan {
  structure: string;
  allocation: Allocation;
  convolutions: Convolutions;
  /** as it was asked for: exactly one of the three, see PlanOptions */
  asked: { budget: number } | { flops: number } | { widths: string };
  layers: PlannedLayer[];
  totals: PlanTotals;
  /** of the whole model, as the reference counts and as it runs */
  counts: { before: Counts; after: Counts };
}

/** @param budget of the dense multiply-adds; default what the layers' own allowances make together */
export function totalsOf(layers: readonly PlannedLayer[], budget?: number): PlanTotals {
  const sum = (of: "dense" | "allowed" | "cost") => layers.reduce((total, layer) => total + layer.rows * layer[of], 0);
  const [dense, cost] = [sum("dense"), sum("cost")];
  const allowed = budget === undefined ? sum("allowed") : Math.floor(budget * dense * (1 + 1e-12));
  return { dense, allowed, cost, budget: budget ?? allowed / dense, share: cost / dense };
}
