// The table of structures as files know them: what config.json calls each, what its tensors must be (docs/format.md), and
// what tables, model cards and Python call it. Plain data, so that Python's files are written from the same table. What a
// structure computes is in workbench/structures, where further ones register.

/** How layers of one structure are stored: tensor names, shapes and rules. */
export interface StoredStructure {
  /** as config.json and flags name it, e.g. `lowrank` */
  readonly name: string;
  /** in tables, e.g. `low rank` */
  readonly title: string;
  /** in model cards, what replaces the linear layers, e.g. `low-rank matrices`. Default: by its name */
  readonly matrices?: string;
  /** the layer is an ordinary linear layer, and config.json does not list it. Default false */
  readonly isDense?: boolean;
  /** in model cards */
  readonly citation?: Citation;
  /** the shape of each tensor, in names of sizes: the same name is the same length in all of them. Default none */
  readonly parts?: Readonly<Record<string, readonly string[]>>;
  /** parts by which a layer is known to be of this structure, also without config.json. Default all parts */
  readonly signs?: readonly string[];
  /** what the sizes must be, beside n_in and n_out; the first that is broken is reported */
  readonly rules?: readonly SizeRule[];
  /** sizes whose product is n_in, where no shape has it */
  readonly inputSizes?: readonly string[];
  /** sizes that are the rows and columns of the kernel that config.json gives, and the part that has them */
  readonly kernel?: { readonly sizes: readonly [string, string]; readonly part: string };
  /** two forms instead of one: packed for inference and whole for training. Default false */
  readonly isPacked?: boolean;
  readonly python?: PythonStructure;
}

export interface Citation {
  /** the sentence before it */
  readonly text: string;
  readonly bibtex: string;
}

/** The torch modules of a structure. Each takes `(name, n_in, n_out, shapes, bias, mode)`, see gblr_layers.py. */
export interface PythonStructure {
  /** class of a linear layer. Default: it has none */
  readonly linear?: string;
  /** class of a convolution. Default: the linear layer, applied to the patches under the kernel */
  readonly convolution?: string;
  /** the same of the packed form. Default: there is none */
  readonly packed?: { readonly linear: string; readonly convolution: string };
  /** a module that defines them, as text: a docstring, imports, then classes. Default: they are in hub/python */
  readonly source?: string;
}

/** A number, the length of a size by its name, the smaller of two sizes, or a quotient of two sizes rounded up. */
export type Bound =
  | number
  | string
  | { readonly smaller: readonly [string, string] }
  | { readonly ceil: readonly [string, string] };

/** What one size must be. */
export interface SizeRule {
  readonly size: string;
  readonly from?: Bound;
  readonly to?: Bound;
  /** exactly this */
  readonly is?: Bound;
  readonly isPowerOfTwo?: boolean;
}

/** Sizes by their names in shapes. */
export type Sizes = Readonly<Record<string, number>>;

/** Of a layer, samples: masks round shares of a side in float32, which counts that far. */
export const MOST_SIDE = 2 ** 24;

/** Indices of engines and of GPU kernels are 32 bits wide: no tensor that a layer stands for may have more values. */
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
  STORED_MONARCH,
  STORED_BLOCK_LOW_RANK,
  STORED_BLOCK_SPARSE,
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
 * @returns undefined where there is no structure of that name
 */
export const storedStructure = (name: string): StoredStructure | undefined => table.get(name);

/** The structure's title, or the name itself where it is not known. */
export const structureTitle = (name: string): string => table.get(name)?.title ?? name;

/** Whether it is the name of the structure that leaves layers as they are. */
export const isDense = (name: string): boolean => table.get(name)?.isDense ?? false;

/**
 * Makes a further structure known to everything that reads model folders, and to the Python files that are written.
 * @returns its inverse
 * @throws Error when there is one of that name
 */
export function registerStoredStructure(structure: StoredStructure): () => void {
  const { name } = structure;
  if (table.has(name)) throw new Error(`there is a structure "${name}" already; choose another name`);
  table.set(name, structure);
  return () => table.delete(name);
}

/** The first rule that the sizes break, as a clause such as `J must be in 1 … 48, is 50`. */
export function brokenRule({ rules = [] }: StoredStructure, sizes: Sizes): string | undefined {
  for (const rule of rules) {
    const is = sizes[rule.size] ?? 0;
    const must = requirement(rule, is, sizes);
    if (must !== undefined) return `${rule.size} must be ${must}, is ${is}`;
  }
  return undefined;
}

/** @returns what the size must be; undefined where it is */
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
  return Math.ceil(size(bound.ceil[0]) / size(bound.ceil[1]));
}

function boundText(bound: Exclude<Bound, number>): string {
  if (typeof bound === "string") return bound;
  if ("smaller" in bound) return `the smaller of ${bound.smaller.join(" and ")}`;
  return `${bound.ceil.join(" / ")} rounded up`;
}
