// The kernels that only GBLR needs, one operator of the addon for each (native/gblr/): Gaudi masks, the matrix of
// masked factors, both with gradients, and the product with a packed matrix. ops/gblr/kernels.ts lists what each
// returns. With the precision bfloat16, the matrix is a product in float32 or TF32, rounded once: masks are exact.

import * as names from "../../../ops/gblr/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten } from "../aten.ts";
import { fusedKernel, half, type KernelTable, single } from "../register.ts";

const gaudiMask = aten("gaudi_mask", "", "gblr");
const gaudiMaskBackward = aten<Handle[]>("gaudi_mask_backward", "", "gblr");
const weight = aten("weight", "", "gblr");
const weightBackward = aten<Handle[]>("weight_backward", "", "gblr");
const packedProduct = aten("packed_product", "", "gblr");
const panelProduct = aten("panel_product", "", "gblr");

export const gblr: KernelTable = {
  [names.GAUDI_MASK]: fusedKernel<names.GaudiMaskInputs, names.GaudiMaskAttributes>(
    ({ widths, locations, edges }, { boxcar, evaluate }) => gaudiMask(widths, locations, edges, boxcar, evaluate),
  ),
  [names.GAUDI_MASK_GRADIENT]: fusedKernel<names.GaudiMaskGradientInputs>(({ dy, widths, locations, slopes }) =>
    gaudiMaskBackward(dy, widths, locations, slopes),
  ),
  [names.GBLR_WEIGHT]: fusedKernel<names.GblrWeightInputs>(({ output, input }, _, backend) =>
    half(
      backend.withoutBfloat16(() => weight(single(output, backend), single(input, backend))),
      backend,
    ),
  ),
  [names.GBLR_WEIGHT_GRADIENT]: fusedKernel<names.GblrWeightGradientInputs>(({ dy, output, input }, _, backend) =>
    backend.withoutBfloat16(() => weightBackward(single(dy, backend), single(output, backend), single(input, backend))),
  ),
  [names.PACKED_PRODUCT]: fusedKernel<names.PackedProductInputs, names.PackedProductAttributes>(
    ({ x, spans, valuesIn, valuesOut, bias }, { nOut }) =>
      packedProduct(x, spans, valuesIn, valuesOut, bias ?? null, nOut),
  ),
  [names.PANEL_PRODUCT]: fusedKernel<names.PanelProductInputs, names.PanelProductAttributes>(
    ({ x, valuesIn, runsIn, valuesOut, runsOut, bias }, { blocks, nOut }) =>
      panelProduct(x, valuesIn, runsIn, valuesOut, runsOut, bias ?? null, blocks, nOut),
  ),
};
