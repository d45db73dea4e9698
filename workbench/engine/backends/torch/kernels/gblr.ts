// The kernels that only GBLR needs, one operator of the addon for each (native/gblr/): Gaudi masks, the matrix of
// masked factors, both with gradients, and the products with a packed matrix and with live blocks. ops/gblr/kernels.ts
// lists what each returns. With the precision bfloat16, the matrix is a product in float32 or TF32, rounded once: masks
// are exact.

import * as names from "../../../ops/gblr/kernels.ts";
import type { Handle } from "../addon.ts";
import { aten, STRIDED } from "../aten.ts";
import { fusedKernel, half, type KernelTable, single } from "../register.ts";

const gaudiMask = aten("gaudi_mask", "", "gblr");
const gaudiMaskBackward = aten<Handle[]>("gaudi_mask_backward", "", "gblr");
const weight = aten("weight", "", "gblr");
const weightBackward = aten<Handle[]>("weight_backward", "", "gblr");
const packedProduct = aten("packed_product", "", "gblr");
const panelProduct = aten("panel_product", "", "gblr");
const tileProduct = aten("tile_product", "", "gblr");
const livePlan = aten("live_plan", "", "gblr");
const liveProduct = aten<Handle[]>("live_product", "", "gblr");
const liveProductBackward = aten<Handle[]>("live_product_backward", "", "gblr");
const empty = aten("empty", "memory_format");

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
  [names.TILE_PRODUCT]: fusedKernel<names.TileProductInputs, names.TileProductAttributes>(
    ({ x, valuesIn, valuesOut, bias }, { tilesIn, tilesOut, blocks, nOut }) =>
      tileProduct(x, valuesIn, tilesIn, valuesOut, tilesOut, bias ?? null, blocks, nOut),
  ),
  // A GPU multiplies by a dense matrix faster than by parts, and the addon computes the parts in float32.
  [names.LIVE_PLAN]: fusedKernel<names.LivePlanInputs, names.LivePlanAttributes>(
    ({ widths, locations }, { rank, nIn, nOut, rows, maskMargins, slopeMargins }, { device, mixed }) =>
      device === "cpu" && !mixed
        ? livePlan(widths, locations, rank, nIn, nOut, rows, maskMargins, slopeMargins)
        : empty([0], "int32", STRIDED, device),
  ),
  [names.LIVE_PRODUCT]: fusedKernel<names.LiveProductInputs, names.LiveProductAttributes>(
    ({ x, input, output, widths, locations, edgesIn, edgesOut, bias, plan }, { boxcar }) =>
      liveProduct(x, input, output, widths, locations, edgesIn, edgesOut, bias ?? null, plan, boxcar),
  ),
  [names.LIVE_PRODUCT_GRADIENT]: fusedKernel<names.LiveProductGradientInputs, names.LiveProductGradientAttributes>(
    (inputs, { boxcar, moreMargins, x: needsX, factors, places }) => {
      const { dy, x, z, input, output, widths, locations, edgesIn, edgesOut, slopesIn, slopesOut, plan } = inputs;
      const matrix = [input, output, widths, locations, edgesIn, edgesOut, slopesIn, slopesOut, plan] as const;
      return liveProductBackward(dy, x, z, ...matrix, boxcar, moreMargins, needsX, factors, places);
    },
  ),
};
