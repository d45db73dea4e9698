// All kernels of the fused ops on this backend; which op has which kernels is said in ops/kernels.ts.

import type { KernelTable } from "../register.ts";
import { fusedAdamw } from "./fused-adamw.ts";
import { fusedAttention } from "./fused-attention.ts";
import { fusedGaudiMask } from "./fused-gaudi-mask.ts";
import { fusedGblrWeight } from "./fused-gblr-weight.ts";
import { fusedLayers } from "./fused-layers.ts";
import { fusedLoss } from "./fused-loss.ts";
import { fusedPackedProduct } from "./fused-packed-product.ts";
import { fusedWriteRows } from "./fused-write-rows.ts";

export const fused: KernelTable = {
  ...fusedLayers,
  ...fusedAttention,
  ...fusedLoss,
  ...fusedAdamw,
  ...fusedGaudiMask,
  ...fusedGblrWeight,
  ...fusedPackedProduct,
  ...fusedWriteRows,
};
