// The table of structures in files: their names in config.json, the rules of their tensors (docs/format.md), and their
// names in tables, model cards and Python. It is plain data, from which the Python files are generated too. The
// computations of structures are in workbench/structures.

/** How layers of one structure are stored: tensor names, shapes and rules. */
export interface StoredStructure {
  /** name in config.json and flags, e.g. `lowrank` */
  readonly name: string;
  /** title in tables, e.g. `low rank` */
  readonly title: string;
  /** plural in model cards, e.g. `low-rank matrices`. Default the name */
  readonly matrices?: string;
  /** whether layers are ordinary linear layers, which config.json does not list. Default false */
  readonly isDense?: boolean;
  /** citation in model cards */
  readonly citation?: Citation;
  /** shape of each tensor in names of sizes; equal names have equal lengths. Default none */
  readonly parts?: Readonly<Record<string, readonly string[]>>;
  /** parts that identify the structure of a layer without config.json. Default all parts */
  readonly signs?: readonly string[];
  /** rules of the sizes; the first broken one is reported. Default none */
  readonly rules?: readonly SizeRule[];
  /** parts whose values are 0 … length − 1 in any order. Products use them as indices. Default none */
  readonly permutations?: readonly string[];
  /** sizes whose product is n_in, if no shape has n_in */
  readonly inputSizes?: readonly string[];
  /** sizes that must equal the rows and columns of the kernel in config.json, and the part that has them */
  readonly kernel?: { readonly sizes: readonly [string, string]; readonly part: string };
  /** whether there are two forms, packed for inference and trainable. Default false */
  readonly isPacked?: boolean;
  readonly python?: PythonStructure;
}

/** The publication of a structure. */
export interface Citation {
  /** the sentence before the BibTeX entry */
  readonly text: string;
  readonly bibtex: string;
}

/** The torch modules of a structure. Each takes `(name, n_in, n_out, shapes, bias, mode)`, see gblr_layers.py. */
export interface PythonStructure {
  /** class of a linear layer. Default none */
  readonly linear?: string;
  /** class of a convolution. Default: the linear layer applied to patches */
  readonly convolution?: string;
  /** classes of the packed form. Default none */
  readonly packed?: { readonly linear: string; readonly convolution: string };
  /** text of the module that defines them: a docstring, imports, classes. Default: they are in hub/python */
  readonly source?: string;
}

/** A number, the length of a size, the smaller or the difference of two sizes, or their quotient rounded up. */
export type Bound =
  | number
  | string
  | { readonly difference: readonly [string, string] }
  | { readonly smaller: readonly [string, string] }
  | { readonly ceil: readonly [string, string] };

/** A requirement of one size. */
export interface SizeRule {
  readonly size: string;
  readonly from?: Bound;
  readonly to?: Bound;
  /** exact length */
  readonly is?: Bound;
  readonly isPowerOfTwo?: boolean;
}

/** Sizes by their names in shapes. */
export type Sizes = Readonly<Record<string, number>>;

/** Largest n_in and n_out. Masks round widths and locations in float32, which represents all integers up to 2^24. */
export const MOST_SIDE = 2 ** 24;

/** Largest number of values of a layer's dense matrix. Engines and GPU kernels use 32-bit indices. */
export const MOST_VALUES = 2 ** 31 - 1;

const FACTORS = { left: ["n_out", "r"], right: ["r", "n_in"] } as const;
const BLOCKS = { first: ["n_in", "r", "J"], second: ["n_out", "K", "r"] } as const;
const BLOCK_RULES: readonly SizeRule[] = [
  { size: "r", from: 1 },
  { size: "J", from: 1, to: "n_out" },
  { size: "K", from: 1, to: "n_in" },
];

/** How dense layers are stored. */
export const STORED_DENSE: StoredStructure = { name: "dense", title: "dense", isDense: true };

/** How GBLR layers are stored. */
export const STORED_GBLR: StoredStructure = {
  name: "gblr",
  title: "GBLR",
  matrices: "Gaudi-GBLR matrices (generalized block low rank, with learned widths and locations of the blocks)",
  isPacked: true,
  citation: {
    text: "The matrices were introduced by Lee and Kim (ICLR 2024):",
    bibtex: `@inproceedings{lee2024differentiable,
  title     = {Differentiable Learning of Generalized Structured Matrices for Efficient Deep Neural Networks},
  author    = {Lee, Changwoo and Kim, Hun-Seok},
  booktitle = {International Conference on Learning Representations},
  year      = {2024},
  url       = {https://arxiv.org/abs/2310.18882}
}`,
  },
  python: {
    linear: "GblrLinear",
    packed: { linear: "PackedGblrLinear", convolution: "PackedGblrConvolution" },
  },
};

/** How low-rank layers are stored. */
export const STORED_LOW_RANK: StoredStructure = {
  name: "lowrank",
  title: "low rank",
  matrices: "low-rank matrices",
  parts: FACTORS,
  rules: [{ size: "r", from: 1 }],
  python: { linear: "LowRankLinear", convolution: "LowRankConvolution" },
};

/** How low-rank layers in the form of PIFA are stored. */
export const STORED_PIFA: StoredStructure = {
  name: "pifa",
  title: "PIFA",
  matrices: "low-rank matrices by pivoting factorization (PIFA)",
  parts: { pivots: ["r", "n_in"], coefficients: ["rest", "r"], order: ["n_out"] },
  rules: [
    { size: "r", from: 1, to: { smaller: ["n_in", "n_out"] } },
    { size: "rest", is: { difference: ["n_out", "r"] } },
  ],
  permutations: ["order"],
  python: { linear: "PivotedLinear" },
};

/** How layers of block tensor trains are stored. */
export const STORED_BTT: StoredStructure = {
  name: "btt",
  title: "BTT",
  matrices: "block tensor trains",
  parts: BLOCKS,
  rules: BLOCK_RULES,
  python: { linear: "BlockLinear" },
};

/** How Monarch layers are stored. */
export const STORED_MONARCH: StoredStructure = {
  name: "monarch",
  title: "Monarch",
  matrices: "Monarch matrices",
  parts: BLOCKS,
  rules: BLOCK_RULES,
  python: { linear: "MonarchLinear" },
};

/** How block-low-rank layers are stored. */
export const STORED_BLOCK_LOW_RANK: StoredStructure = {
  name: "block-low-rank",
  title: "block low rank",
  matrices: "block low-rank matrices",
  parts: BLOCKS,
  rules: BLOCK_RULES,
  python: { linear: "BlockLinear" },
};

/** How BLAST layers are stored. */
export const STORED_BLAST: StoredStructure = {
  name: "blast",
  title: "BLAST",
  matrices: "block-level adaptive structured (BLAST) matrices",
  parts: { basis_out: ["n_out", "r"], basis_in: ["n_in", "r"], couplings: ["J", "K", "r"] },
  rules: BLOCK_RULES,
  python: { linear: "BlastLinear" },
};

/** How block-sparse layers are stored. */
export const STORED_BLOCK_SPARSE: StoredStructure = {
  name: "block-sparse",
  title: "block sparse",
  matrices: "low-rank plus block-sparse matrices",
  parts: { values: ["side", "height", "kept", "width"], ...FACTORS },
  signs: Object.keys(FACTORS),
  rules: [
    { size: "side", isPowerOfTwo: true },
    { size: "side", from: 1, to: { smaller: ["n_in", "n_out"] } },
    { size: "kept", from: 1, to: "side" },
    { size: "height", is: { ceil: ["n_out", "side"] } },
    { size: "width", is: { ceil: ["n_in", "side"] } },
  ],
  python: { linear: "BlockSparseLinear" },
};

/** How pruned layers are stored. */
export const STORED_UNSTRUCTURED: StoredStructure = {
  name: "unstructured",
  title: "unstructured sparse",
  matrices: "matrices without their least important entries",
  parts: { entries: ["n_out", "n_in"] },
  python: { linear: "SparseLinear" },
};

/** How layers are stored that keep 2 of 4 adjacent entries. */
export const STORED_SEMI_STRUCTURED: StoredStructure = {
  ...STORED_UNSTRUCTURED,
  name: "semi-structured",
  title: "2:4 sparse",
  matrices: "matrices with 2 of each 4 adjacent entries",
};

/** How Tucker-2 convolutions are stored. */
export const STORED_TUCKER: StoredStructure = {
  name: "tucker",
  title: "Tucker-2",
  parts: { core: ["rows", "columns", "r_in", "r_out"], input: ["channels", "r_in"], output: ["r_out", "n_out"] },
  signs: ["core"],
  rules: ["rows", "columns", "channels", "r_in", "r_out"].map((size) => ({ size, from: 1 })),
  inputSizes: ["rows", "columns", "channels"],
  kernel: { sizes: ["rows", "columns"], part: "core" },
  python: { convolution: "TuckerConvolution" },
};

const BUILT_IN = [
  STORED_GBLR,
  STORED_LOW_RANK,
  STORED_PIFA,
  STORED_BTT,
  STORED_MONARCH,
  STORED_BLOCK_LOW_RANK,
  STORED_BLAST,
  STORED_BLOCK_SPARSE,
  STORED_UNSTRUCTURED,
  STORED_SEMI_STRUCTURED,
  STORED_TUCKER,
  STORED_DENSE,
];
const table = new Map(BUILT_IN.map((structure) => [structure.name, structure]));

/** All structures, in the order in which they were registered. */
export const storedStructures = (): StoredStructure[] => [...table.values()];

/** Names that config.json can give a layer. */
export const storedNames = (): string[] =>
  storedStructures().flatMap(({ name, isDense = false }) => (isDense ? [] : [name]));

/**
 * How layers of a structure are stored.
 * @returns undefined if there is no structure of this name
 */
export const storedStructure = (name: string): StoredStructure | undefined => table.get(name);

/** The title of a structure, or its name if it is unknown. */
export const structureTitle = (name: string): string => table.get(name)?.title ?? name;

/** Whether this is the name of the dense structure. */
export const isDense = (name: string): boolean => table.get(name)?.isDense ?? false;

/**
 * Registers a structure for reading model folders and for the written Python files.
 * @returns a function that removes it again
 * @throws Error when the name is taken
 */
export function registerStoredStructure(structure: StoredStructure): () => void {
  const { name } = structure;
  if (table.has(name)) throw new Error(`the structure "${name}" exists already; choose another name`);
  table.set(name, structure);
  return () => table.delete(name);
}

/** The first broken rule, such as `J must be in 1 … 48, is 50`; undefined if there is none. */
export function brokenRule({ rules = [] }: StoredStructure, sizes: Sizes): string | undefined {
  for (const rule of rules) {
    const is = sizes[rule.size] ?? 0;
    const must = requirement(rule, is, sizes);
    if (must !== undefined) return `${rule.size} must be ${must}, is ${is}`;
  }
  return undefined;
}

/** The requirement of a broken rule; undefined if the rule is met. */
function requirement({ from, to, is: exact, isPowerOfTwo }: SizeRule, size: number, sizes: Sizes): string | undefined {
  if (isPowerOfTwo) return size >= 1 && Number.isInteger(Math.log2(size)) ? undefined : "a power of two";
  if (exact !== undefined) {
    const value = lengthOf(exact, sizes);
    return size === value ? undefined : typeof exact === "number" ? `${value}` : `${boundText(exact)}, ${value}`;
  }
  const least = from === undefined ? 0 : lengthOf(from, sizes);
  const most = to === undefined ? Number.POSITIVE_INFINITY : lengthOf(to, sizes);
  if (size >= least && size <= most) return undefined;
  return Number.isFinite(most) ? `in ${least} … ${most}` : `at least ${least}`;
}

function lengthOf(bound: Bound, sizes: Sizes): number {
  const size = (name: string) => sizes[name] ?? 0;
  if (typeof bound === "number") return bound;
  if (typeof bound === "string") return size(bound);
  if ("smaller" in bound) return Math.min(...bound.smaller.map(size));
  if ("difference" in bound) return size(bound.difference[0]) - size(bound.difference[1]);
  return Math.ceil(size(bound.ceil[0]) / size(bound.ceil[1]));
}

function boundText(bound: Exclude<Bound, number>): string {
  if (typeof bound === "string") return bound;
  if ("smaller" in bound) return `the smaller of ${bound.smaller.join(" and ")}`;
  if ("difference" in bound) return bound.difference.join(" − ");
  return `${bound.ceil.join(" / ")} rounded up`;
}
