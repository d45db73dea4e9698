// The Python modules that are written from the table of structures: `gblr_structures`, what the tensors of each must be, and
// `gblr_kinds`, which torch module holds a layer of each. A registered structure brings a module of its own.

import { type StoredStructure, storedStructures } from "../model-folder/index.ts";

/** By module name. */
export function structureModules(): Record<string, string> {
  const structures = storedStructures().filter(({ isDense = false }) => !isDense);
  const own = structures.flatMap((structure) =>
    structure.python?.source === undefined ? [] : [[moduleOf(structure), structure.python.source] as const],
  );
  return { ...Object.fromEntries(own), gblr_structures: rulesText(structures), gblr_kinds: kindsText(structures) };
}

const moduleOf = ({ name }: StoredStructure): string => `gblr_structure_${name.replace(/\W/g, "_")}`;

function rulesText(structures: readonly StoredStructure[]): string {
  const entries = structures.map(({ name, parts = {}, signs = Object.keys(parts), ...structure }) => {
    const { rules = [], inputSizes = [], kernel = null } = structure;
    return `    ${literal(name)}: ${literal({ parts, signs, rules, input_sizes: inputSizes, kernel })},\n`;
  });
  return `"""The structures that config.json can name: the shapes of their tensors in names of sizes, by which tensors a layer is
known to be of them, and what the sizes must be. GBLR's two forms have rules of their own. Written by the workbench.
"""

# fmt: off
STRUCTURES = {
${entries.join("")}}
`;
}

function kindsText(structures: readonly StoredStructure[]): string {
  const imports = new Map<string, Set<string>>([
    ["gblr_convolutions", new Set()],
    ["gblr_layers", new Set()],
  ]);
  const from = (module: string, name: string) => {
    imports.set(module, (imports.get(module) ?? new Set()).add(name));
    return name;
  };
  const lines: Record<"linear" | "convolution", string[]> = { linear: [], convolution: [] };
  const add = (kind: keyof typeof lines, name: string, value: string) => {
    lines[kind].push(`    ${literal(name)}: ${value},\n`);
  };
  for (const structure of structures) {
    const { linear, convolution, packed, source } = structure.python ?? {};
    const own = (usual: string) => (source === undefined ? usual : moduleOf(structure));
    if (packed) {
      add("linear", "packed", from("gblr_layers", packed.linear));
      add("convolution", "packed", from("gblr_convolutions", packed.convolution));
    }
    if (linear) add("linear", structure.name, from(own("gblr_layers"), linear));
    if (convolution) add("convolution", structure.name, from(own("gblr_convolutions"), convolution));
    else if (linear) add("convolution", structure.name, `${from("gblr_convolutions", "convolution_of")}(${linear})`);
  }
  const statements = Array.from(
    imports,
    ([module, names]) => `from ${module} import ${[...names].sort().join(", ")}\n`,
  );
  return `"""Which module holds a layer, and a convolution, in each structure. Written by the workbench."""

${statements.join("")}
LAYERS = {
${lines.linear.join("")}}
CONVOLUTIONS = {
${lines.convolution.join("")}}
`;
}

/** As Python writes it: JSON but for three words. */
function literal(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${entries.map(([name, each]) => `${JSON.stringify(name)}: ${literal(each)}`).join(", ")}}`;
}
