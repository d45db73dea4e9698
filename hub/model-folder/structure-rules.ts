// What the tensors of each structure must be, by docs/format.md: names, shapes, and the ranges of the sizes that shapes
// share. Rules only, no files. A structure that workbench/structures gets is a line here and in gblr_rules.py.

export const STRUCTURES = ["gblr", "lowrank", "monarch", "block-low-rank", "block-sparse", "tucker"] as const;
export type StructureName = (typeof STRUCTURES)[number];

/** Sizes by their names in shapes. */
export type Sizes = Readonly<Record<string, number>>;

/** What a range is broken by, as a clause; undefined where all ranges are kept. */
type Ranges = (sizes: Sizes) => string | undefined;

export interface FactorRules {
  /** the shape of each tensor, in names of sizes: the same name is the same length */
  parts: Readonly<Record<string, readonly string[]>>;
  ranges: Ranges;
}

/** Of a layer, samples: masks round shares of a side in float32, which counts that far. */
export const MOST_SIDE = 2 ** 24;

/** Indices of engines and of GPU kernels are 32 bits wide: no tensor that a layer stands for may have more values. */
export const MOST_VALUES = 2 ** 31 - 1;

const LOW_RANK = { left: ["n_out", "r"], right: ["r", "n_in"] } as const;
const BLOCKS = { first: ["n_in", "r", "J"], second: ["n_out", "K", "r"] } as const;

const blocks: Ranges = ({ r, J, K, n_in, n_out }) =>
  outside("r", r, 1) ?? outside("J", J, 1, n_out) ?? outside("K", K, 1, n_in);

/** Of every structure but GBLR, whose two forms have rules of their own. */
export const FACTORED: Readonly<Record<Exclude<StructureName, "gblr">, FactorRules>> = {
  lowrank: { parts: LOW_RANK, ranges: ({ r }) => outside("r", r, 1) },
  monarch: { parts: BLOCKS, ranges: blocks },
  "block-low-rank": { parts: BLOCKS, ranges: blocks },
  "block-sparse": { parts: { values: ["side", "height", "kept", "width"], ...LOW_RANK }, ranges: blockSparse },
  tucker: {
    parts: { core: ["rows", "columns", "r_in", "r_out"], input: ["channels", "r_in"], output: ["r_out", "n_out"] },
    ranges: ({ rows, columns, channels, r_in, r_out }) =>
      outside("rows", rows, 1) ??
      outside("columns", columns, 1) ??
      outside("channels", channels, 1) ??
      outside("r_in", r_in, 1) ??
      outside("r_out", r_out, 1),
  },
};

function blockSparse(sizes: Sizes): string | undefined {
  const { side = 0, height, kept, width, n_in = 0, n_out = 0 } = sizes;
  const isPower = side >= 1 && Number.isInteger(Math.log2(side));
  if (!isPower) return `side must be a power of two, is ${side}`;
  const [high, wide] = [Math.ceil(n_out / side), Math.ceil(n_in / side)];
  return (
    outside("side", side, 1, Math.min(n_in, n_out)) ??
    outside("kept", kept, 1, side) ??
    (height === high ? undefined : `height must be n_out / side rounded up, ${high}, is ${height}`) ??
    (width === wide ? undefined : `width must be n_in / side rounded up, ${wide}, is ${width}`)
  );
}

function outside(name: string, size = 0, least: number, most = Number.POSITIVE_INFINITY): string | undefined {
  if (size >= least && size <= most) return undefined;
  return `${name} must be ${Number.isFinite(most) ? `in ${least} … ${most}` : `at least ${least}`}, is ${size}`;
}
