// Finds the libtorch to build against and computes a fingerprint that changes when the library is replaced.
// Search order: $LIBTORCH (a folder, or `system`), the Python environment's torch, the system's.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";

/** An installed libtorch. */
export interface Libtorch {
  /** how it was found: `$LIBTORCH`, `Python` or `system` */
  origin: string;
  /** folders for the compiler, the first holds `ATen/` */
  include: string[];
  /** folders of the headers that NCCL's process group needs; none if some are missing */
  nccl: string[];
  /** folder of libtorch.so */
  lib: string;
  /** e.g. `1.13.0` */
  version: string;
  cuda: boolean;
  /** changes when the library is replaced */
  fingerprint: string;
}

/** Searches in the order above; undefined when there is none. Throws when `LIBTORCH` is set but is no libtorch. */
export function findLibtorch(environment: Record<string, string | undefined> = process.env): Libtorch | undefined {
  const found = search(environment);
  return found && { ...found, nccl: ncclHeaders(found, environment.CUDA_HOME ?? "/usr/local/cuda") };
}

type Found = Omit<Libtorch, "nccl">;

function search(environment: Record<string, string | undefined>): Found | undefined {
  const asked = environment.LIBTORCH;
  if (asked) {
    const found = asked === "system" ? systemLibtorch() : lookIn(asked, "$LIBTORCH");
    if (found) return found;
    if (asked === "system") throw new Error("LIBTORCH=system, but the system has no libtorch; install libtorch-dev");
    throw new Error(`LIBTORCH=${asked} has no include/ATen and lib/libtorch.so; point it to a libtorch`);
  }
  const python = pythonTorch();
  return (python ? lookIn(python, "Python") : undefined) ?? systemLibtorch();
}

/** The current fingerprint of the library in a folder found earlier; undefined when the library is gone. */
export function fingerprint(lib: string): string | undefined {
  const file = join(lib, "libtorch_cpu.so");
  if (!isFile(file)) return undefined;
  const { size, mtimeMs } = statSync(realpathSync(file));
  return `${size}-${Math.round(mtimeMs)}`;
}

const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() === true;

function lookIn(root: string, origin: string): Found | undefined {
  return describe([join(root, "include")], join(root, "lib"), origin);
}

function systemLibtorch(): Found | undefined {
  const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const libs = [`/usr/lib/${triplet}`, "/usr/lib64", "/usr/lib", "/usr/local/lib"];
  for (const lib of libs) {
    const include = lib === "/usr/local/lib" ? "/usr/local/include" : "/usr/include";
    const found = describe([include], lib, "system");
    if (found) return found;
  }
  return undefined;
}

function describe(roots: string[], lib: string, origin: string): Found | undefined {
  const include = roots.flatMap((root) => [root, join(root, "torch/csrc/api/include")]);
  const mark = fingerprint(lib);
  if (!existsSync(join(roots[0] as string, "ATen")) || !mark) return undefined;
  const version = versionIn(include);
  return { origin, include, lib, version, cuda: existsSync(join(lib, "libtorch_cuda.so")), fingerprint: mark };
}

const RUNTIME_HEADER = "cuda_runtime_api.h";
/** Headers of NVIDIA's packages; the last one is not among those that PyTorch's wheel installs. */
const NCCL_HEADERS = ["nccl.h", RUNTIME_HEADER, "crt/host_config.h"];

/**
 * Folders of the headers that NCCL's process group needs: of NVIDIA's packages beside PyTorch's wheel, whose NCCL is that of
 * the wheel, and of a CUDA toolkit of the same version for those that they lack.
 */
function ncclHeaders({ lib }: Found, toolkit: string): string[] {
  const packages = join(lib, "../../nvidia");
  const beside = existsSync(packages) ? readdirSync(packages).map((name) => join(packages, name, "include")) : [];
  if (!beside.some((folder) => isFile(join(folder, "nccl.h")))) return [];
  const version = beside.map(cudaVersionIn).find((found) => found !== undefined);
  const other = join(toolkit, "include");
  const folders = [...beside, ...(cudaVersionIn(other) === version ? [other] : [])].filter(existsSync);
  return NCCL_HEADERS.every((header) => folders.some((folder) => isFile(join(folder, header)))) ? folders : [];
}

/** CUDA's version by the header of its runtime, e.g. `13.2`. */
function cudaVersionIn(folder: string): string | undefined {
  const header = join(folder, RUNTIME_HEADER);
  const number = isFile(header) && readFileSync(header, "utf8").match(/^#define CUDART_VERSION +(\d+)/m)?.[1];
  return number ? `${Math.floor(Number(number) / 1000)}.${Math.floor((Number(number) % 1000) / 10)}` : undefined;
}

/** Headers that define the version. Newer releases define it in the first file, which the second includes. */
const VERSION_FILES = ["torch/headeronly/version.h", "torch/version.h"];

/** The version, which the addon's code depends on. Throws when no header states it. */
function versionIn(include: string[]): string {
  const files = VERSION_FILES.flatMap((file) => include.map((folder) => join(folder, file))).filter(isFile);
  const parts = ["MAJOR", "MINOR", "PATCH"].map((name) => new RegExp(`^#define TORCH_VERSION_${name} (\\d+)`, "m"));
  for (const file of files) {
    const header = readFileSync(file, "utf8");
    const numbers = parts.map((part) => header.match(part)?.[1]);
    if (!numbers.includes(undefined)) return supported(numbers.join("."), file);
  }
  const what = files[0] ? `${files[0]} does not define TORCH_VERSION_MAJOR` : `${include[0]} has no torch/version.h`;
  throw new Error(`the version of libtorch is unknown: ${what}; reinstall PyTorch or point LIBTORCH to another one`);
}

/** Returns the version; throws when it is older than the addon supports. */
function supported(version: string, file: string): string {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 1 || minor >= 13) return version;
  throw new Error(`${file} is libtorch ${version}, the addon needs 1.13 or newer; install a newer PyTorch`);
}

/** The torch package of the first `python3` on the path, found without importing it. */
function pythonTorch(): string | undefined {
  const script =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
  const { stdout, status } = spawnSync("python3", ["-c", script], { encoding: "utf8", timeout: 20_000 });
  return (status === 0 && stdout.trim()) || undefined;
}
