// The matrix of masked factors and its gradient, one operator of the addon each.

import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const weight = aten("weight", "", "gblr");
const weightBackward = aten<Handle[]>("weight_backward", "", "gblr");

export const fusedGblrWeight: KernelTable = {
  [names.GBLR_WEIGHT]: fusedKernel<names.GblrWeightInputs>(({ output, input }) => weight(output, input)),
  [names.GBLR_WEIGHT_GRADIENT]: fusedKernel<names.GblrWeightGradientInputs>(({ dy, output, input }) =>
    weightBackward(dy, output, input),
  ),
};
