// Which of OpenBLAS's kernels are taken: the decision as a table, and the program that tries them on this machine's
// OpenBLAS and on a small library that passes for one, whose kernels multiply wrongly, crash or hang on request.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseKernels, objection, widerKernels } from "../../native/blas/blas-kernels.ts";
import { type Kernels, type Probed, probe, probeLibtorch, probePath } from "../../native/blas/blas-probe.ts";
import { kernelsFor } from "../../native/blas/kernel-record.ts";
import { addonPath, buildState } from "../../native/build-state.ts";
import type { Libtorch } from "../../native/libtorch.ts";
import { inspectProcessor, type Processor, parseProcessor } from "../../native/processor.ts";

const AVX2 = ["avx", "avx2", "fma"];
const AVX512 = [...AVX2, "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"];
const root = mkdtempSync(join(tmpdir(), "gblr-kernels-"));
afterAll(() => rmSync(root, { recursive: true }));

describe("the kernels to try", () => {
  test.each<[string, string[], string[]]>([
    ["Prescott", AVX512, ["SkylakeX", "Haswell"]],
    ["Nehalem", AVX512, ["SkylakeX", "Haswell"]],
    ["Sandybridge", AVX512, ["SkylakeX", "Haswell"]],
    ["Haswell", AVX512, ["SkylakeX"]],
    ["Zen", AVX512, ["SkylakeX"]],
    ["SkylakeX", AVX512, []],
    ["Cooperlake", AVX512, []],
    ["SAPPHIRERAPIDS", AVX512, []],
    ["Prescott", AVX2, ["Haswell"]],
    ["Haswell", AVX2, []],
    ["Zen", AVX2, []],
    ["Prescott", ["sse2", "avx"], []],
    // Without one of the five extensions that SkylakeX is compiled for, as on Xeon Phi.
    ["Prescott", AVX512.filter((flag) => flag !== "avx512bw"), ["Haswell"]],
    // From a release that knows more than we do.
    ["GraniteRapids", AVX512, []],
    ["NEOVERSEN1", [], []],
  ])("where OpenBLAS takes %s on a processor with %p: %p", (core, flags, expected) => {
    expect(widerKernels(core, { name: "any", flags })).toEqual(expected);
  });

  test("the processor is read from the first core's lines", () => {
    const core = (number: number) => `processor\t: ${number}\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 fma\n\n`;
    expect(parseProcessor(core(0) + core(1))).toEqual({ name: "Some CPU", flags: ["fpu", "avx2", "fma"] });
    expect(parseProcessor("")).toEqual({ name: "", flags: [] });
  });

  test.skipIf(!existsSync("/proc/cpuinfo") || process.arch !== "x64")(
    "this machine's processor has a name and SSE2",
    () => {
      const { name, flags } = inspectProcessor();
      expect(name).not.toBeEmpty();
      expect(flags).toContain("sse2");
    },
  );
});

describe("the objection to kernels that were tried", () => {
  const kernels = (core: string, gflops: number, wrong?: string): Kernels => ({
    core,
    config: "OpenBLAS",
    gflops,
    ...(wrong && { wrong }),
  });
  const own = kernels("Prescott", 64);
  const tried = (...args: Parameters<typeof kernels>): Probed => ({ files: [], kernels: kernels(...args) });
  test.each<[Probed, string | undefined]>([
    [tried("SkylakeX", 265), undefined],
    [tried("SKYLAKEX", 265), undefined],
    [tried("SkylakeX", 265, "sgemm TN 5×1×17"), "wrong result of sgemm TN 5×1×17"],
    [tried("SkylakeX", 66), "not faster"],
    [tried("Prescott", 64), "this OpenBLAS is built without them"],
    [{ files: [] }, "this OpenBLAS is built without them"],
    [{ failure: "crashed with SIGILL" }, "crashed with SIGILL"],
  ])("%p: %p", (probed, expected) => {
    expect(objection("SkylakeX", probed, own)).toBe(expected as string);
  });

  test("is not their speed where OpenBLAS's own choice computes wrong results", () => {
    expect(objection("SkylakeX", tried("SkylakeX", 60), kernels("Prescott", 64, "sgemm NN 1×1×1"))).toBeUndefined();
  });
});

const state = buildState();
const libtorch = state.state === "built" && process.arch === "x64" ? state.stamp.libtorch : undefined;
const own = libtorch && probeLibtorch(libtorch);
const openblas = own && "kernels" in own && own.kernels?.config.includes("DYNAMIC_ARCH");
if (!openblas) console.log("kernels of the real OpenBLAS: the addon is not built against one, their tests are skipped");

describe.skipIf(!openblas)("this machine's OpenBLAS", () => {
  const real = libtorch as Libtorch;
  const { flags } = inspectProcessor();
  const [fma4, avx2] = ["fma4", "avx2"].map((flag) => flags.includes(flag));
  if (fma4) console.log("kernels that crash: this processor can run all of OpenBLAS's, the test is skipped");
  if (!avx2) console.log("wider kernels: this processor has no AVX2, the test is skipped");

  test.each([undefined, "Prescott", "Core2"])("multiplies correctly with %p", (core) => {
    const probed = probeLibtorch(real, core);
    if ("failure" in probed) throw new Error(probed.failure);
    expect(probed.kernels?.wrong).toBeUndefined();
    expect(probed.kernels?.gflops).toBeGreaterThan(0);
    if (core !== undefined) expect(probed.kernels?.core).toBe(core);
    expect(probed.files.some((file) => file.includes("openblas"))).toBe(true);
  });

  test.skipIf(fma4 === true)("crashes in the probe's process with kernels that the processor cannot run", () => {
    const probed = probeLibtorch(real, "Excavator");
    // Where OpenBLAS is built without them, it takes its own instead.
    if ("kernels" in probed) expect(probed.kernels?.core).not.toBe("Excavator");
    else expect(probed).toEqual({ failure: "crashed with SIGILL" });
  });

  test.skipIf(!avx2)("is given wider kernels where it chooses narrow ones", () => {
    const { own, chosen } = chooseKernels((core = "Prescott") => probeLibtorch(real, core), inspectProcessor());
    expect(own?.core).toBe("Prescott");
    expect(["SkylakeX", "Haswell"]).toContain(chosen?.core as string);
    expect(chosen?.gflops).toBeGreaterThan(own?.gflops as number);
  });

  /** What the addon runs on in a fresh process that loads it with these kernels. */
  function loadedWith(kernels: string, environment: Record<string, string>): string {
    const { OPENBLAS_CORETYPE: _, ...rest } = process.env;
    const script = `const addon = require(${JSON.stringify(addonPath)}).load(${JSON.stringify(kernels)});
      console.log(addon.blas().core); process.exit(0);`;
    return spawnSync(process.execPath, ["-e", script], { env: { ...rest, ...environment }, encoding: "utf8" }).stdout;
  }

  test("is loaded with the chosen kernels, unless OPENBLAS_CORETYPE is set", () => {
    expect(loadedWith("Prescott", {}).trim()).toBe("Prescott");
    expect(loadedWith("Prescott", { OPENBLAS_CORETYPE: "Core2" }).trim()).toBe("Core2");
  });
});

/**
 * Passes for an OpenBLAS that takes slow Prescott kernels by itself. What its others do is written in $FAKE_KERNELS,
 * e.g. `SkylakeX=wrong Haswell=right`; those not named there it does not have.
 */
const FAKE = `
#include <cstdint>
#include <cstdlib>
#include <string>
#include <unistd.h>
static std::string core() {
  const char* asked = getenv("OPENBLAS_CORETYPE");
  const std::string known = getenv("FAKE_KERNELS") ? getenv("FAKE_KERNELS") : "";
  return asked && known.find(std::string(asked) + "=") != std::string::npos ? asked : "Prescott";
}
static std::string behavior() {
  const std::string known = getenv("FAKE_KERNELS") ? getenv("FAKE_KERNELS") : "", mine = core() + "=";
  const size_t at = known.find(mine);
  if (at == std::string::npos) return "slow";
  const size_t begin = at + mine.size();
  return known.substr(begin, known.find(' ', begin) - begin);
}
template <typename T>
void gemm(bool ta, bool tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c, int ldc) {
  static const std::string how = behavior();
  if (how == "crashing") abort();
  if (how == "hanging") for (;;) pause();
  // Only the timed products are this large; leaving them out makes "right" fast.
  if (m == 512) { if (how == "slow") usleep(20000); return; }
  for (int j = 0; j < n; ++j) for (int i = 0; i < m; ++i) {
    double sum = 0;
    for (int l = 0; l < k; ++l) sum += double(ta ? a[l + i * lda] : a[i + l * lda]) * (tb ? b[j + l * ldb] : b[l + j * ldb]);
    if (how == "wrong" && ta && i == m - 1 && j == n - 1) sum += 0.01;
    c[i + j * ldc] = alpha * sum + (beta == 0 ? 0 : beta * c[i + j * ldc]);
  }
}
template <typename T>
void gemv(bool t, int m, int n, T alpha, const T* a, int lda, const T* x, T beta, T* y) {
  for (int i = 0; i < (t ? n : m); ++i) {
    double sum = 0;
    for (int l = 0; l < (t ? m : n); ++l) sum += double(t ? a[l + i * lda] : a[i + l * lda]) * x[l];
    y[i] = alpha * sum + beta * y[i];
  }
}
#define BLAS(letter, T) \\
  void letter##gemm_(const char* ta, const char* tb, const int* m, const int* n, const int* k, const T* alpha, const T* a, \\
                     const int* lda, const T* b, const int* ldb, const T* beta, T* c, const int* ldc) { \\
    gemm<T>(*ta == 'T', *tb == 'T', *m, *n, *k, *alpha, a, *lda, b, *ldb, *beta, c, *ldc); } \\
  void letter##gemv_(const char* t, const int* m, const int* n, const T* alpha, const T* a, const int* lda, const T* x, \\
                     const int*, const T* beta, T* y, const int*) { gemv<T>(*t == 'T', *m, *n, *alpha, a, *lda, x, *beta, y); }
extern "C" {
const char* openblas_get_corename() { static const std::string name = core(); return name.c_str(); }
const char* openblas_get_config() { return "OpenBLAS 0.0.0"; }
BLAS(s, float)
BLAS(d, double)
}
`;

const compiler = process.env.CXX ?? "g++";
const canCompile = existsSync(probePath) && spawnSync(compiler, ["--version"]).status === 0;
if (!canCompile)
  console.log("kernels of a library made for tests: no addon or no C++ compiler, their tests are skipped");

describe.skipIf(!canCompile)("a library that chooses narrow kernels", () => {
  const library = join(root, "libfake.so");

  beforeAll(() => {
    writeFileSync(join(root, "fake.cc"), FAKE);
    const flags = ["-shared", "-fPIC", "-O2", join(root, "fake.cc"), "-o", library];
    const { stderr, status } = spawnSync(compiler, flags, { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
  });

  /** Runs the real program on the library. */
  function withKernels(behavior: string, patience = 60) {
    return (core?: string): Probed => {
      process.env.FAKE_KERNELS = behavior;
      try {
        return probe({ library, core, patience });
      } finally {
        delete process.env.FAKE_KERNELS;
      }
    };
  }

  /** A program that passes for the real one. */
  function script(body: string): string {
    const file = join(mkdtempSync(join(root, "program-")), "probe");
    writeFileSync(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return file;
  }

  const choose = (behavior: string) => chooseKernels(withKernels(behavior), { name: "any", flags: AVX512 });

  test("is given the widest kernels that are right and faster", () => {
    const { own, chosen, rejected } = choose("SkylakeX=right Haswell=right");
    expect(own?.core).toBe("Prescott");
    expect(chosen?.core).toBe("SkylakeX");
    expect(rejected).toEqual([]);
  });

  test.each([
    ["wrong", "wrong result of sgemm TN 1×1×1"],
    ["crashing", "crashed with SIGABRT"],
    ["slow", "not faster"],
  ])("is not given kernels that are %s: the next ones are tried", (behavior, why) => {
    const { chosen, rejected } = choose(`SkylakeX=${behavior} Haswell=right`);
    expect(rejected).toEqual([{ core: "SkylakeX", why }]);
    expect(chosen?.core).toBe("Haswell");
  });

  test("keeps its own kernels where the others are missing or bad", () => {
    expect(choose("").chosen).toBeUndefined();
    const { chosen, rejected } = choose("SkylakeX=wrong Haswell=crashing");
    expect(chosen).toBeUndefined();
    expect(rejected.map(({ core }) => core)).toEqual(["SkylakeX", "Haswell"]);
  });

  test("is ended when its kernels hang", () => {
    expect(withKernels("SkylakeX=hanging", 1)("SkylakeX")).toEqual({ failure: "no answer within 1 s" });
  });

  test("is left alone when it is no OpenBLAS or cannot be loaded", () => {
    const other = join(root, "libother.so");
    spawnSync(compiler, ["-shared", "-x", "c++", "/dev/null", "-o", other]);
    const processor = { name: "any", flags: AVX512 };
    expect(chooseKernels(() => probe({ library: other }), processor)).toEqual({ files: [], rejected: [] });
    const failure = expect.stringContaining("nothing.so");
    const absent = () => probe({ library: join(root, "nothing.so") });
    expect(chooseKernels(absent, processor)).toEqual({ failure, files: [], rejected: [] });
    expect(probe({ library: other, program: join(root, "no-program") })).toHaveProperty("failure");
    expect(probe({ library: other, program: "/bin/echo" })).toHaveProperty("failure");
    for (const answer of ["null", '{"files":5}', '{"files":[],"core":7}']) {
      const program = script(`echo '${answer}'`);
      expect(probe({ library: other, program })).toEqual({ failure: `answered ${JSON.stringify(answer)}` });
    }
  });

  test("is given up when the program does not end itself", () => {
    const program = script("exec sleep 60");
    expect(probe({ library, program, patience: 1 })).toEqual({ failure: "no answer within 1 s" });
  });
});

describe("the choice of kernels", () => {
  const blas = join(root, "libopenblas.so.0");
  const other = join(root, "libopenblas-openmp.so");
  const real = join(root, "libopenblas-pthread.so");
  let runs = 0;
  const run = (core = "Prescott"): Probed => {
    runs++;
    return { files: [blas], kernels: { core, config: "OpenBLAS", gflops: core === "Prescott" ? 64 : 265 } };
  };
  const libtorch: Libtorch = {
    origin: "",
    include: [],
    nccl: [],
    lib: root,
    version: "",
    cuda: false,
    fingerprint: "1",
  };
  const processor = { name: "Some CPU", flags: AVX512 };

  beforeAll(() => {
    for (const file of [real, other]) writeFileSync(file, file);
    symlinkSync(real, blas);
  });

  test("is made once, and again when the processor, libtorch or the library changes", () => {
    const folder = mkdtempSync(join(root, "build-"));
    const choose = (changed: { libtorch?: Libtorch; processor?: Processor } = {}) =>
      kernelsFor(changed.libtorch ?? libtorch, {
        folders: [folder],
        run,
        processor: changed.processor ?? processor,
      });
    const runsOf = (body: () => unknown) => {
      const before = runs;
      body();
      return runs - before;
    };
    const first = choose();
    expect(first.chosen?.core).toBe("SkylakeX");
    expect(runsOf(() => expect(choose()).toEqual(first))).toBe(0);

    expect(runsOf(() => choose({ libtorch: { ...libtorch, fingerprint: "2" } }))).toBe(2);
    expect(runsOf(() => choose({ processor: { ...processor, name: "Another CPU" } }))).toBe(2);
    expect(runsOf(() => choose({ processor: { ...processor, flags: [...AVX512, "avx512_bf16"] } }))).toBe(2);
    choose();
    rmSync(blas);
    symlinkSync(other, blas);
    expect(runsOf(() => choose())).toBe(2);
    expect(runsOf(() => choose())).toBe(0);
    for (const text of ['{"key":', "null", '{"version":1,"rejected":[]}']) {
      writeFileSync(join(folder, "kernels.json"), text);
      expect(runsOf(() => choose())).toBe(2);
    }
    expect(readdirSync(folder)).toEqual(["kernels.json"]);
  });

  test("is made again after a failure once the program that tries kernels is another", () => {
    const [folder, program] = [mkdtempSync(join(root, "build-")), join(root, "blas-probe")];
    const choose = (tried: () => Probed) => kernelsFor(libtorch, { folders: [folder], run: tried, processor, program });
    const failed = (): Probed => ({ failure: "could not run" });
    expect(choose(failed).failure).toBe("could not run");
    expect(choose(run).failure).toBe("could not run");
    writeFileSync(program, "built anew");
    expect(choose(run).chosen?.core).toBe("SkylakeX");
  });

  test("is kept in the next folder where the first cannot be written, and made each time where none can", () => {
    const unwritable = join(real, "no-folder-because-this-is-in-a-file");
    const folder = join(root, "cache", "of-the-user");
    const choose = (folders: string[]) => kernelsFor(libtorch, { folders, run, processor }).chosen?.core;
    const before = runs;
    expect(choose([unwritable, folder])).toBe("SkylakeX");
    expect(readdirSync(folder)).toEqual(["kernels.json"]);
    expect(choose([unwritable, folder])).toBe("SkylakeX");
    expect(runs).toBe(before + 2);
    expect(choose([unwritable])).toBe("SkylakeX");
    expect(choose([unwritable])).toBe("SkylakeX");
    expect(runs).toBe(before + 6);
  });
});
