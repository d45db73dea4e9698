// Gaudi masks and their gradient, one operator of the addon each.

import * as names from "../../../ops/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const gaudiMask = aten("gaudi_mask", "", "gblr");
const gaudiMaskBackward = aten<Handle[]>("gaudi_mask_backward", "", "gblr");

export const fusedGaudiMask: KernelTable = {
  [names.GAUDI_MASK]: fusedKernel<names.GaudiMaskInputs, names.GaudiMaskAttributes>(
    ({ widths, locations, edges }, { boxcar, evaluate }) => gaudiMask(widths, locations, edges, boxcar, evaluate),
  ),
  [names.GAUDI_MASK_GRADIENT]: fusedKernel<names.GaudiMaskGradientInputs>(({ dy, widths, locations, slopes }) =>
    gaudiMaskBackward(dy, widths, locations, slopes),
  ),
};
