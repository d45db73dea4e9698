// Opening engines: which one `auto` takes and what it says about it, opening again, and every request that cannot be met.
// What the engines compute is tested beside this file.

import { describe, expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import * as tf from "@tensorflow/tfjs-core";
import { EngineError, nearest } from "../../workbench/engine/core/errors.ts";
import { openEngine, probeEngines } from "../../workbench/engine/core/open.ts";
import { resolveOptions } from "../../workbench/engine/core/options.ts";
import { ENGINE_NAMES, type OpenEngineOptions } from "../../workbench/engine/core/types.ts";
import { ENGINES, forEachEngine } from "./engines.ts";

const probes = await probeEngines();
const present = (name: string): boolean => probes.some((probed) => probed.name === name && probed.probe.available);

async function refusal(options: object): Promise<EngineError> {
  try {
    await openEngine(options as OpenEngineOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError);
    return error as EngineError;
  }
  throw new Error(`openEngine(${JSON.stringify(options)}) should have been refused`);
}

describe("looking for engines", () => {
  test("reports on each once, in the order in which they are named", async () => {
    expect((await probeEngines()).map(({ name }) => name)).toEqual([...ENGINE_NAMES]);
  });

  test("says of each what computes and where, or why not and what to do", async () => {
    for (const { probe } of await probeEngines()) {
      if (probe.available) {
        expect(probe.version).toMatch(/ \d+\.\d+/);
        expect(probe.devices.length).toBeGreaterThan(0);
        expect(probe.detail).not.toBe("");
      } else {
        expect(probe.reason).not.toBe("");
        expect(probe.remedy).not.toMatch(/\.$/);
      }
    }
  });

  test("finds wasm and cpu on every machine", () => {
    expect(present("wasm")).toBe(true);
    expect(present("cpu")).toBe(true);
  });

  test("leaves the current engine as it is", async () => {
    await openEngine({ engine: "wasm" });
    await probeEngines();
    expect(tf.getBackend()).toBe("wasm");
  });
});

describe("auto", () => {
  test("takes torch when it is built, else wasm where there is no WebGPU, and names what it passed over", async () => {
    const engine = await openEngine();
    if (present("torch")) {
      expect(engine.name).toBe("torch");
    } else {
      expect(engine.name).toBe("wasm");
      expect(engine.why).toContain("passed over torch (");
      expect(engine.why).toContain("webgpu (this runtime has no WebGPU)");
    }
    expect(engine.why).toStartWith(`auto took ${engine.name} on ${engine.device}: `);
  });

  test("looks only at engines that have the device asked for", async () => {
    const engine = await openEngine({ device: "cpu" });
    expect(engine.device).toBe("cpu");
    expect(engine.why).not.toContain("webgpu");
  });

  test("takes nothing when no device fits, and says what it looked at", async () => {
    if (ENGINES.some(({ options }) => options.device?.startsWith("cuda"))) {
      expect((await openEngine({ device: "cuda" })).device).toStartWith("cuda");
      return;
    }
    const { message, remedy } = await refusal({ device: "cuda" });
    expect(message).toStartWith('no engine here for device "cuda": passed over torch');
    expect(remedy).toContain("build");
  });
});

describe("an engine that is asked for by name", () => {
  test("is refused with the reason and the remedy when it is absent", async () => {
    for (const { name, probe } of probes) {
      if (probe.available) continue;
      const { message } = await refusal({ engine: name });
      expect(message).toStartWith(`engine "${name}" is not available: ${probe.reason}; `);
    }
  });

  test("says how to install TensorFlow and what limits it", async () => {
    if (!present("tensorflow")) {
      const { remedy } = await refusal({ engine: "tensorflow" });
      for (const part of ["npm install @tensorflow/tfjs-node", "CUDA 11.2", "Node 22 or older"]) {
        expect(remedy).toContain(part);
      }
    }
  });
});

describe("a request that is not understood", () => {
  const cases: [string, object, string][] = [
    [
      "a mistyped engine",
      { engine: "troch" },
      'unknown engine "troch": there is "auto", "torch", "webgpu", "wasm", "tensorflow", "cpu"; did you mean "torch"?',
    ],
    [
      "an engine unlike any other",
      { engine: "quantum" },
      'unknown engine "quantum": there is "auto", "torch", "webgpu", "wasm", "tensorflow", "cpu"; ask for one of these',
    ],
    [
      "an engine that is no name",
      { engine: 3 },
      'unknown engine 3: there is "auto", "torch", "webgpu", "wasm", "tensorflow", "cpu"; ask for one of these',
    ],
    [
      "a mistyped device",
      { device: "cud" },
      'unknown device "cud": there is "cpu", "cuda", "gpu", "cuda:0", "cuda:1", ...; did you mean "cuda"?',
    ],
    [
      "a precision that no engine has",
      { precision: "bfloat61" },
      'unknown precision "bfloat61": there is "float32", "tf32", "bfloat16"; did you mean "bfloat16"?',
    ],
    [
      "a mistyped option",
      { treads: 2 },
      'unknown option "treads": there is "engine", "device", "precision", "threads"; did you mean "threads"?',
    ],
    [
      "a device of another engine",
      { engine: "wasm", device: "cuda" },
      'device "cuda" is not a device of engine "wasm", which runs on "cpu"; ask for "cpu", or for engine "torch" to use CUDA',
    ],
    [
      "a precision of another engine",
      { engine: "wasm", precision: "bfloat16" },
      'precision "bfloat16" is not available on engine "wasm", which computes in float32; ask for "float32", or for engine "torch" on a CUDA device',
    ],
  ];
  for (const [what, options, message] of cases) {
    test(`says what there is: ${what}`, async () => {
      expect((await refusal(options)).message).toBe(message);
    });
  }

  test("says how many threads there may be", async () => {
    for (const threads of [0, -1, 1.5, Number.NaN, "4"]) {
      expect((await refusal({ threads })).message).toStartWith(
        `threads must be a whole number from 1 on, got ${threads}; leave it out to use `,
      );
    }
  });

  test.each([
    ["1", 1],
    ["3", 3],
    [" 12 , 4", 12],
    ["", availableParallelism()],
    ["0", availableParallelism()],
    ["-2", availableParallelism()],
    ["two", availableParallelism()],
    ["99999", availableParallelism()],
  ])("takes OMP_NUM_THREADS=%p as OpenMP does, and else a thread for each core", (asked, threads) => {
    const before = process.env.OMP_NUM_THREADS;
    try {
      process.env.OMP_NUM_THREADS = asked;
      expect(resolveOptions({}).threads).toBe(threads);
      expect(resolveOptions({ threads: 5 }).threads).toBe(5);
    } finally {
      if (before === undefined) delete process.env.OMP_NUM_THREADS;
      else process.env.OMP_NUM_THREADS = before;
    }
  });

  test("does not change the current engine", async () => {
    await openEngine({ engine: "cpu" });
    await refusal({ engine: "wasm", precision: "tf32" });
    await refusal({ engine: "nothing" });
    expect(tf.getBackend()).toBe("cpu");
  });
});

describe("the nearest name", () => {
  test("allows for a slip in a short name and for several in a long one", () => {
    expect(nearest("wsm", ["wasm", "webgpu"])).toBe("wasm");
    expect(nearest("WebGPU", ["wasm", "webgpu"])).toBe("webgpu");
    expect(nearest("tensroflwo", ["torch", "tensorflow"])).toBe("tensorflow");
  });

  test("is none when nothing is near", () => {
    expect(nearest("abacus", ["wasm", "webgpu"])).toBeUndefined();
    expect(nearest("", ["wasm"])).toBeUndefined();
  });
});

forEachEngine("an open engine", (engine, under) => {
  test("is the current one and computes", async () => {
    expect(engine().name).toBe(under.name);
    expect(tf.getBackend()).toBe(engine().backendName);
    expect([...(await tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).data())]).toEqual([11]);
  });

  test("says why it is open", () => {
    expect(engine().why).toBe(`engine "${under.name}" was asked for`);
    expect(engine().version).toMatch(/ \d+\.\d+/);
    expect(engine().threads).toBeGreaterThanOrEqual(1);
  });

  test("can be left for another and opened again, and its tensors are still there", async () => {
    const kept = tf.tensor1d([1, 2, 3]);
    await openEngine({ engine: "cpu" });
    expect(tf.getBackend()).toBe("cpu");
    const again = await openEngine(under.options);
    expect(tf.getBackend()).toBe(again.backendName);
    expect([...(await tf.square(kept).data())]).toEqual([1, 4, 9]);
    kept.dispose();
  });

  test("waits for what is queued", async () => {
    const sum = tf.sum(tf.ones([64, 64]));
    await engine().synchronize();
    expect((await sum.data())[0]).toBe(4096);
  });

  test("takes its device by name and refuses any other", async () => {
    expect((await openEngine({ engine: under.name, device: engine().device })).device).toBe(engine().device);
    const other = under.name === "webgpu" ? "cuda" : "cuda:99";
    expect((await refusal({ engine: under.name, device: other })).message).toContain(`"${other}"`);
    expect(tf.getBackend()).toBe(engine().backendName);
  });
});
