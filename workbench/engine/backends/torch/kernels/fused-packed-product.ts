// The product with a packed matrix, one operator of the addon.

import * as names from "../../../ops/kernels.ts";
import { aten } from "../aten.ts";
import type { KernelTable } from "../register.ts";
import { fusedKernel } from "./fused-kernel.ts";

const packedProduct = aten("packed_product", "", "gblr");

export const fusedPackedProduct: KernelTable = {
  [names.PACKED_PRODUCT]: fusedKernel<names.PackedProductInputs, names.PackedProductAttributes>(
    ({ x, spans, valuesIn, valuesOut, bias }, { nOut }) =>
      packedProduct(x, spans, valuesIn, valuesOut, bias ?? null, nOut),
  ),
};
