// The kernels that only GBLR needs: masks, the matrix of masked factors, and the products with packed matrices and with
// live blocks. The contract is that of ../kernels.ts. K is the number of blocks, B the number of live blocks, and n the
// number of samples on a side.

import type { TensorInfo } from "@tensorflow/tfjs-core";

/** → mask (K, n) */
export const GAUDI_MASK = "FusedGaudiMask";
export type GaudiMaskInputs = { widths: TensorInfo; locations: TensorInfo; edges: TensorInfo };
export type GaudiMaskAttributes = { boxcar: boolean; evaluate: boolean };
/** Evaluation sets mask entries of at most this size to 0. */
export const LEAST_ENTRY = 1e-3;
/** → dwidths, dlocations (K) */
export const GAUDI_MASK_GRADIENT = "FusedGaudiMaskGradient";
export type GaudiMaskGradientInputs = { dy: TensorInfo; widths: TensorInfo; locations: TensorInfo; slopes: TensorInfo };

/** → W (n_out, n_in) */
export const GBLR_WEIGHT = "FusedGblrWeight";
export type GblrWeightInputs = { output: TensorInfo; input: TensorInfo };
/** → doutput (K, n_out), dinput (K, n_in) */
export const GBLR_WEIGHT_GRADIENT = "FusedGblrWeightGradient";
export type GblrWeightGradientInputs = GblrWeightInputs & { dy: TensorInfo };

/** → y (rows, n_out) */
export const PACKED_PRODUCT = "FusedPackedProduct";
export type PackedProductInputs = {
  x: TensorInfo;
  spans: TensorInfo;
  valuesIn: TensorInfo;
  valuesOut: TensorInfo;
  bias?: TensorInfo;
};
export type PackedProductAttributes = { nOut: number };

/** → y (..., n_out) */
export const PANEL_PRODUCT = "FusedPanelProduct";
export type PanelProductInputs = {
  x: TensorInfo;
  valuesIn: TensorInfo;
  runsIn: TensorInfo;
  valuesOut: TensorInfo;
  runsOut: TensorInfo;
  bias?: TensorInfo;
};
export type PanelProductAttributes = { blocks: number; nOut: number };
/** Columns of a chunk: two registers of AVX-512. */
export const PANEL_WIDTH = 32;

/** → y (..., n_out) */
export const TILE_PRODUCT = "FusedTileProduct";
export type TileProductInputs = { x: TensorInfo; valuesIn: TensorInfo; valuesOut: TensorInfo; bias?: TensorInfo };
/** Triples, see `TileProductOperands`. */
export type TileProductAttributes = { tilesIn: number[]; tilesOut: number[]; blocks: number; nOut: number };

/**
 * Only backends that multiply by live blocks have this kernel and the next two. → plan, int32 (values), or (0) where the
 * dense matrix is faster. Margins are samples, of the input side and of the output side
 */
export const LIVE_PLAN = "FusedLivePlan";
export type LivePlanInputs = { widths: TensorInfo; locations: TensorInfo };
export type LivePlanAttributes = {
  rank: number;
  nIn: number;
  nOut: number;
  rows: number;
  maskMargins: readonly [number, number];
  slopeMargins: readonly [number, number];
};
/** → y (..., n_out) and z (rows, B) */
export const LIVE_PRODUCT = "FusedLiveProduct";
export type LiveProductInputs = {
  x: TensorInfo;
  input: TensorInfo;
  output: TensorInfo;
  widths: TensorInfo;
  locations: TensorInfo;
  edgesIn: TensorInfo;
  edgesOut: TensorInfo;
  bias?: TensorInfo;
  plan: TensorInfo;
};
export type LiveProductAttributes = { boxcar: boolean };
/** → dx, dinput, doutput, dwidths and dlocations, those that are asked for; the others are (0) */
export const LIVE_PRODUCT_GRADIENT = "FusedLiveProductGradient";
export type LiveProductGradientInputs = Omit<LiveProductInputs, "bias"> & {
  dy: TensorInfo;
  z: TensorInfo;
  slopesIn: TensorInfo;
  slopesOut: TensorInfo;
};
export type LiveProductGradientAttributes = LiveProductAttributes & {
  /** by how much the margins of derivatives are larger */
  moreMargins: readonly [number, number];
  /** which gradients are asked for */
  x: boolean;
  factors: boolean;
  places: boolean;
};
