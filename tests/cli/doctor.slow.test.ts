// `gblr doctor` as a user runs it: the real command in a process of its own. What the engines compute is tested with
// the engines; here it is what the doctor says, where, and with which exit code.

import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { buildState } from "../../native/build-state.ts";
import type { Report } from "../../workbench/cli/doctor/collect.ts";
import { blasParagraphs } from "../../workbench/cli/doctor/tables.ts";
import { loadAddon } from "../../workbench/engine/backends/torch/addon.ts";
import type { KernelReport } from "../../workbench/engine/backends/torch/blas.ts";
import { probeEngine } from "../../workbench/engine/core/open.ts";
import { ENGINE_NAMES } from "../../workbench/engine/core/types.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const folder = temporaryFolder();
/** Real measurements on a machine that other tests may keep busy. */
const PATIENCE = 120_000;

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

async function gblr(args: string[], environment: Record<string, string | undefined> = {}): Promise<Run> {
  const child = Bun.spawn([process.execPath, GBLR, ...args], {
    env: { ...process.env, ...environment },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

async function report(args: string[], environment: Record<string, string | undefined> = {}): Promise<Report> {
  return JSON.parse((await gblr(["doctor", "--quick", "--json", ...args], environment)).stdout) as Report;
}

const built = buildState();
const LACKS_NCCL = built.state === "built" && built.stamp.libtorch.cuda && !loadAddon().addon.hasNccl();

test.skipIf(built.state !== "built")(
  "doctor --distributed starts two processes that add up an array",
  async () => {
    const found = await report(["--engine", "torch", "--distributed"]);
    expect(found.distributed).toEqual({
      ranks: 2,
      bytes: 4 * 2 ** 20,
      seconds: expect.any(Number),
      through: expect.stringMatching(/^(gloo|nccl)$/),
      lacksNccl: LACKS_NCCL,
    });
    const { code, stdout } = await gblr(["doctor", "--quick", "--engine", "torch", "--distributed"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/ distributed 2 processes added up 4\.19 MB through (Gloo|NCCL) in [\d.]+ ms, [\d.]+ GB\/s/);
    expect(stdout.includes("no NCCL: see docs/distributed.md")).toBe(LACKS_NCCL);
  },
  PATIENCE,
);

test(
  "doctor --json is one document that lists every engine, and measures those it opens",
  async () => {
    const found = await report([]);
    expect(found.engines.map(({ name }) => name).sort()).toEqual([...ENGINE_NAMES].sort());
    expect(found.machine.runtime).toEqual({ name: "Bun", version: Bun.version });
    expect(found.machine.memory).toBe(os.totalmem());
    for (const { probe, outcome } of found.engines) {
      if (!probe.available) {
        expect(probe.reason).not.toBeEmpty();
        expect(probe.remedy).not.toBeEmpty();
        expect(outcome).toBeUndefined();
      } else if (outcome !== undefined && "measured" in outcome) {
        expect(outcome.measured.matMul.gflops).toBeGreaterThan(0);
        expect(outcome.measured.elementwise.gigabytesPerSecond).toBeGreaterThan(0);
      }
    }
    const wasm = found.engines.find(({ name }) => name === "wasm");
    expect(wasm?.outcome).toHaveProperty("measured");
  },
  PATIENCE,
);

test(
  "doctor opens what auto takes, and says why",
  async () => {
    const { opened, engines } = await report([]);
    if ("error" in opened) throw new Error(opened.error);
    expect(opened.measured.why).not.toBeEmpty();
    const taken = engines.find(({ name }) => name === opened.measured.engine);
    expect(taken?.probe.available).toBe(true);
    expect(taken?.outcome).toEqual(opened);
  },
  PATIENCE,
);

test(
  "doctor --engine measures the named engine and no other",
  async () => {
    const { engines, requested } = await report(["--engine", "wasm", "--threads", "1"]);
    expect(requested).toEqual({ engine: "wasm", threads: 1 });
    expect(engines.filter(({ outcome }) => outcome !== undefined).map(({ name }) => name)).toEqual(["wasm"]);
  },
  PATIENCE,
);

test(
  "doctor for people keeps to 100 columns and has no color in a pipe",
  async () => {
    const { code, stdout, stderr } = await gblr(["doctor", "--quick", "--engine", "wasm"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const name of ENGINE_NAMES) expect(stdout).toContain(name);
    // A path stays whole so that it can be copied; every other line fits.
    const long = stdout.split("\n").filter((line) => line.length > 100 && !/\/\S{60,}/.test(line));
    expect(long).toEqual([]);
    expect(stdout).not.toContain("\u001b[");
  },
  PATIENCE,
);

test(
  "doctor for an engine that is absent exits 1 with one line that says what to do",
  async () => {
    const { engines } = await report(["--engine", "wasm"]);
    for (const { name, probe } of engines) {
      if (probe.available) continue;
      const { code, stdout, stderr } = await gblr(["doctor", "--quick", "--json", "--engine", name]);
      expect(code).toBe(1);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(stderr).toContain(name);
      expect(stderr).toContain(probe.remedy);
      expect((JSON.parse(stdout) as Report).opened).toEqual({ error: stderr.replace(/^gblr: /, "").trim() });
    }
  },
  PATIENCE,
);

test(
  "doctor for a device that the engine lacks exits 1 with one line",
  async () => {
    const { code, stderr } = await gblr(["doctor", "--quick", "--json", "--engine", "wasm", "--device", "cuda:7"]);
    expect(code).toBe(1);
    expect(stderr).toContain("cuda:7");
    expect(stderr.trim().split("\n")).toHaveLength(1);
  },
  PATIENCE,
);

test.each([
  [["doctor", "--engine", "abacus"], "abacus"],
  [["doctor", "--precision", "float7"], "float7"],
  [["doctor", "--device", "abacus"], "abacus"],
  [["doctor", "--threads", "0"], "0"],
  [["doctor", "--threads", "two"], "two"],
  [["doctor", "--colour"], "--colour"],
  [["doctor", "please"], "arguments"],
  [["docter"], "doctor"],
])("bad usage exits 2 with one line: gblr %p", async (args, named) => {
  const { code, stdout, stderr } = await gblr(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toStartWith("gblr: ");
  expect(stderr).toContain(named);
  expect(stderr.trim().split("\n")).toHaveLength(1);
});

const torch = await probeEngine("torch");
const blas = torch.available ? loadAddon().addon.blas() : undefined;
const openblas = blas?.core !== undefined && blas.description.includes("DYNAMIC_ARCH");
if (!openblas) console.log("doctor's words on OpenBLAS: torch does not run on one here, their tests are skipped");

test.skipIf(!openblas)(
  "doctor names OpenBLAS's kernels, who chose them, and what others would give",
  async () => {
    const kernelsWith = async (environment: Record<string, string | undefined>) => {
      const { blas } = await report(["--engine", "torch", "--device", "cpu"], environment);
      if (blas === undefined || "error" in blas) throw new Error(blas?.error ?? "no BLAS in the report");
      expect(blas.library).toMatch(/^OpenBLAS \d\S+$/);
      return blas.kernels as KernelReport;
    };
    const without = await kernelsWith({ OPENBLAS_CORETYPE: undefined });
    expect(["OpenBLAS", "gblr"]).toContain(without.chosenBy);
    expect(without.measured?.gflops).toBeGreaterThan(0);

    const asked = await kernelsWith({ OPENBLAS_CORETYPE: "Core2" });
    expect(asked).toMatchObject({ core: "Core2", chosenBy: "OPENBLAS_CORETYPE", measured: { core: "Core2" } });
    expect(asked.otherwise?.core).toBe(without.core);

    const unknown = await kernelsWith({ OPENBLAS_CORETYPE: "Abacus" });
    expect(unknown).toMatchObject({ chosenBy: "OpenBLAS" });
    expect(unknown.core).not.toBe("Abacus");
  },
  PATIENCE,
);

test("doctor says what OpenBLAS's own choice costs where another was made, and which kernels were not taken", () => {
  const kernels = (core: string, gflops: number) => ({ core, gflops, config: "OpenBLAS 0.3.21 DYNAMIC_ARCH" });
  const chosen = {
    core: "SkylakeX",
    chosenBy: "gblr",
    measured: kernels("SkylakeX", 265),
    otherwise: kernels("Prescott", 64),
    rejected: [],
  } as const;
  expect(blasParagraphs({ library: "OpenBLAS 0.3.21", kernels: chosen })).toEqual([
    "OpenBLAS 0.3.21 with its SkylakeX kernels, chosen by gblr: 265 GFLOP/s on one thread",
    "OpenBLAS's own choice: Prescott, 64.0 GFLOP/s",
  ]);
  const kept = {
    core: "Prescott",
    chosenBy: "OpenBLAS",
    rejected: [{ core: "SkylakeX", why: "crashed with SIGILL" }],
  } as const;
  expect(blasParagraphs({ library: "OpenBLAS 0.3.21", kernels: kept })).toEqual([
    "OpenBLAS 0.3.21 with its Prescott kernels, chosen by OpenBLAS",
    "SkylakeX kernels were tried and not taken: crashed with SIGILL",
  ]);
  const untried = { core: "Prescott", chosenBy: "OpenBLAS", rejected: [], failure: "crashed with SIGSEGV" } as const;
  expect(blasParagraphs({ library: "OpenBLAS 0.3.21", kernels: untried })).toEqual([
    "OpenBLAS 0.3.21 with its Prescott kernels, chosen by OpenBLAS",
    "✗ kernels could not be tried: crashed with SIGSEGV; run `npm run build -- --force`",
  ]);
  expect(blasParagraphs({ library: "oneMKL 2025.3" })).toEqual(["oneMKL 2025.3"]);
});

test(
  "doctor says that a token is set, and where, but never the token",
  async () => {
    const secret = "hf_neverprintthis";
    const args = ["doctor", "--quick", "--json", "--engine", "wasm"];
    const home = folder();
    const without = { HF_TOKEN: "", HF_TOKEN_PATH: "", HF_HOME: home };

    const unset = JSON.parse((await gblr(args, without)).stdout) as Report;
    expect(unset.hub).toEqual({ endpoint: expect.any(String), token: { set: false }, home });

    const inVariable = await gblr(args, { ...without, HF_TOKEN: secret });
    expect((JSON.parse(inVariable.stdout) as Report).hub.token).toEqual({ set: true, source: "HF_TOKEN" });

    writeFileSync(path.join(home, "token"), `${secret}\n`);
    const inFile = await gblr(["doctor", "--quick", "--engine", "wasm"], without);
    expect(inFile.stdout).toContain(path.join(home, "token"));

    for (const { stdout, stderr } of [inVariable, inFile]) expect(stdout + stderr).not.toContain(secret);
  },
  PATIENCE,
);

test(
  "doctor shows the endpoint without the password that it may carry",
  async () => {
    const environment = { HF_ENDPOINT: "https://me:secret@hub.example/mirror" };
    const { hub } = await report(["--engine", "wasm"], environment);
    expect(hub.endpoint).toBe("https://hub.example/mirror");
    expect((await report(["--engine", "wasm"], { HF_ENDPOINT: "" })).hub.endpoint).toBe("https://huggingface.co");
  },
  PATIENCE,
);

const deno = path.join(import.meta.dir, "../../node_modules/.bin/deno");

test.skipIf(!existsSync(deno))(
  "doctor runs under Deno too, and so do the processes that it starts",
  async () => {
    const args = ["run", "-A", GBLR, "doctor", "--quick", "--json", "--engine", "wasm"];
    const { stdout, exitCode } = Bun.spawnSync([deno, ...args], { stderr: "inherit" });
    const { machine, opened } = JSON.parse(stdout.toString()) as Report;
    expect({ exitCode, runtime: machine.runtime.name }).toEqual({ exitCode: 0, runtime: "Deno" });
    expect(opened).toHaveProperty("measured");
  },
  PATIENCE,
);

test("help exits 0 and ends with an example; the version is the package's", async () => {
  const help = await gblr(["doctor", "--help"]);
  expect(help.code).toBe(0);
  expect(help.stdout).toContain("Example:\n  gblr doctor");
  const version = await gblr(["--version"]);
  const { version: expected } = await Bun.file(path.join(import.meta.dir, "../../package.json")).json();
  expect(version).toEqual({ code: 0, stdout: `${expected}\n`, stderr: "" });
});

test("gblr without a verb is bad usage, and shows the help", async () => {
  const { code, stderr } = await gblr([]);
  expect(code).toBe(2);
  expect(stderr).toContain("doctor");
});
