// Joins Python modules that import each other into one file: first all imports, then one section per module, in the
// order of their dependencies. A source must consist of a docstring, plain import statements, and the rest. Names
// defined by different modules must differ.

/** Name that stands for the module itself, in `import x`. */
const WHOLE = "";
/** Installed packages; other imports are from Python's standard library. */
const INSTALLED = /^(torch|transformers)\b/;

/** Python modules before they are joined. */
export interface PythonSources {
  /** texts by module name */
  [module: string]: string;
}

interface Module {
  /** lines of the docstring */
  doc: string[];
  /** imported names by module; WHOLE for `import x` */
  imports: Imports;
  body: string;
}

/**
 * Creates one file per root, with the root and all modules that it imports from `sources`. A module imported by two
 * roots is in the file of the first.
 * @returns texts by root
 * @throws Error that names the module when the sources cannot be joined
 */
export function joinPython(sources: PythonSources, roots: readonly string[]): Map<string, string> {
  const modules = new Map(Object.entries(sources).map(([name, text]) => [name, parse(name, text)]));
  /** the root whose file contains a module */
  const places = new Map<string, string>();
  const files = new Map<string, string>();
  for (const root of roots) {
    const sections = inOrder(root, modules, places);
    for (const name of sections) places.set(name, root);
    files.set(root, joined(root, sections, { modules, places }));
  }
  return files;
}

function parse(name: string, text: string): Module {
  const [, docstring, rest] = /^"""([\s\S]*?)"""\n([\s\S]*)$/.exec(text) ?? [];
  if (docstring === undefined || rest === undefined) throw new Error(`${name}.py: must begin with a docstring`);
  const imports: Imports = new Map();
  const statement = /^\n*(?:import ([\w.]+)|from ([\w.]+) import (?:\(([^)]*)\)|([^\n(]+)))(?: *#[^\n]*)?\n/;
  let body = rest;
  for (let found = statement.exec(body); found; found = statement.exec(body)) {
    const [all, plain, from, several, one] = found;
    const names = (several ?? one ?? WHOLE).split(",").map((each) => each.trim());
    // The last name may be followed by a comma.
    const given = plain ? names : names.filter((each) => each !== "");
    add(imports, plain ?? (from as string), given);
    body = body.slice(all.length);
  }
  if (/^ *from \./m.test(body)) throw new Error(`${name}.py: imports must be plain statements after the docstring`);
  return { doc: docstring.trim().split("\n"), imports, body: body.trim() };
}

/** The modules that `root` needs and no earlier root contains; the root is last. */
function inOrder(root: string, modules: ReadonlyMap<string, Module>, places: ReadonlyMap<string, string>): string[] {
  const order: string[] = [];
  const visit = (name: string) => {
    const module = modules.get(name);
    if (!module || places.has(name) || order.includes(name)) return;
    for (const other of module.imports.keys()) visit(other);
    order.push(name);
  };
  visit(root);
  return order;
}

interface Joining {
  modules: ReadonlyMap<string, Module>;
  places: ReadonlyMap<string, string>;
}

function joined(root: string, sections: readonly string[], { modules, places }: Joining): string {
  const all = sections.map((name) => ({ name, ...(modules.get(name) as Module) }));
  expectOwnNames(all);
  const [foreign, beside]: [Imports, Imports] = [new Map(), new Map()];
  for (const [module, names] of all.flatMap((each) => [...each.imports])) {
    const place = places.get(module);
    if (place !== root) add(place ? beside : foreign, place ?? module, names);
  }
  const top = [...foreign.keys()].sort();
  const groups = [top.filter((from) => !INSTALLED.test(from)), top.filter((from) => INSTALLED.test(from))];
  const blocks = [
    ...groups.map((group) => group.map((from) => importing(from, foreign.get(from) ?? new Set())).join("\n")),
    ...Array.from(beside, ([from, names]) => fromBeside(from, names)),
  ];
  const parts = all.map(({ name, doc, body }) => (name === root ? body : `${heading(doc)}\n\n${body}`));
  const lines = [`"""${modules.get(root)?.doc.join("\n")}\n"""`, ...blocks.filter((block) => block !== "")];
  return `${[lines.join("\n\n"), ...parts].join("\n\n\n")}\n`;
}

type Imports = Map<string, Set<string>>;

function add(imports: Imports, from: string, names: Iterable<string>): void {
  imports.set(from, new Set([...(imports.get(from) ?? []), ...names]));
}

const RULE = `# ${"-".repeat(118)}`;

const heading = (doc: readonly string[]) => [RULE, ...doc.map((line) => `# ${line}`.trimEnd()), RULE].join("\n");

function importing(from: string, names: ReadonlySet<string>): string {
  const sorted = [...names].filter((name) => name !== WHOLE).sort();
  const lines = names.has(WHOLE) ? [`import ${from}`] : [];
  const line = `from ${from} import ${sorted.join(", ")}`;
  if (sorted.length > 0)
    lines.push(line.length <= 115 ? line : `from ${from} import (\n    ${sorted.join(",\n    ")},\n)`);
  return lines.join("\n");
}

/** Imports from another written file: with transformers it is in the same package, without it a top-level module. */
function fromBeside(file: string, names: ReadonlySet<string>): string {
  const indented = (from: string) => importing(from, names).replaceAll(/^/gm, "    ");
  return `try:\n${indented(`.${file}`)}\nexcept ImportError:\n${indented(file)}`;
}

function expectOwnNames(sections: readonly (Module & { name: string })[]): void {
  const owners = new Map<string, string>();
  for (const { name, body } of sections) {
    const defined = [...body.matchAll(/^(?:(?:class|def) (\w+)|(\w+(?:, \w+)*) = )/gm)];
    for (const each of new Set(defined.flatMap(([, one, several = ""]) => one ?? several.split(", ")))) {
      const owner = owners.get(each);
      if (owner) throw new Error(`${each} is defined by ${owner}.py and by ${name}.py, which are joined in one file`);
      owners.set(each, name);
    }
  }
}
