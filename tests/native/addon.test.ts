// The addon on its own: what it refuses, what it says, and that nothing a caller passes brings the process down.
// Skipped, visibly, on a machine where it is not built.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { buildState } from "../../native/build-state.ts";
import { freePort } from "../../workbench/cli/doctor/collect.ts";
import { type Addon, loadAddon } from "../../workbench/engine/backends/torch/addon.ts";

const built = buildState().state === "built";
if (!built) console.log("native addon: not built, its tests are skipped");

describe.skipIf(!built)("the native addon", () => {
  const addon: Addon = built ? loadAddon().addon : (undefined as never);
  const matrix = (rows: number, columns: number, value = 1) =>
    addon.fromBytes(new Float32Array(rows * columns).fill(value), "float32", [rows, columns], "cpu");
  const floats = (handle: number) => [...new Float32Array(addon.read(handle))];
  const op = (name: string, overload = "") => addon.lookup(`aten::${name}`, overload);
  // What a caller in plain JavaScript may do: the types say otherwise.
  const call = addon?.call as unknown as (...args: unknown[]) => unknown;

  test("computes what ATen computes, with defaults for what is left out", () => {
    const a = matrix(2, 2, 3);
    const sum = addon.call(op("add", "Tensor"), a, a) as number;
    const scaled = addon.call(op("add", "Tensor"), a, a, 2) as number;
    expect(floats(sum)).toEqual([6, 6, 6, 6]);
    expect(floats(scaled)).toEqual([9, 9, 9, 9]);
    for (const handle of [a, sum, scaled]) addon.free(handle);
  });

  test("keeps integers integer when a whole number is added", () => {
    const a = addon.fromBytes(Int32Array.of(1, 2), "int32", [2], "cpu");
    const whole = addon.call(op("add", "Scalar"), a, 2) as number;
    const half = addon.call(op("add", "Scalar"), a, 0.5) as number;
    expect(addon.describe(whole)).toEqual(["int32", "cpu", 2]);
    expect(addon.describe(half)).toEqual(["float32", "cpu", 2]);
    for (const handle of [a, whole, half]) addon.free(handle);
  });

  test("passes lists, optional tensors, dtypes, strings, scalars and generators", () => {
    const a = matrix(1, 2, 1);
    const b = matrix(1, 2, 2);
    const joined = addon.call(op("cat"), [a, b], 0) as number;
    expect(floats(joined)).toEqual([1, 1, 2, 2]);
    const index = addon.fromBytes(BigInt64Array.of(1n), "int64", [1], "cpu");
    expect(floats(addon.call(op("index", "Tensor"), joined, [null, index]) as number)).toEqual([1, 2]);
    expect(addon.describe(addon.call(op("zeros"), [2, 3], "float64") as number)).toEqual(["float64", "cpu", 2, 3]);
    expect(floats(addon.call(op("div", "Tensor_mode"), b, a, "floor") as number)).toEqual([2, 2]);
    const draw = () => {
      const generator = addon.generator("cpu", 7);
      const drawn = addon.call(op("rand", "generator"), [4], generator) as number;
      addon.freeGenerator(generator);
      return floats(drawn);
    };
    expect(draw()).toEqual(draw());
  });

  test("seeds the random numbers", () => {
    const draw = () => {
      addon.seed(42);
      return floats(addon.call(op("rand"), [5]) as number);
    };
    expect(draw()).toEqual(draw());
  });

  test("reads asynchronously what was there when it was asked", async () => {
    const a = matrix(2, 2, 1);
    const reading = addon.readAsync(a);
    addon.call(op("fill_", "Scalar"), a, 5);
    expect([...new Float32Array(await reading)]).toEqual([1, 1, 1, 1]);
    addon.free(a);
  });

  test("tells by the schema which results are tensors", () => {
    expect(addon.tensorResults(op("add", "Tensor"))).toEqual([true]);
    expect(addon.tensorResults(op("size", "int"))).toEqual([false]);
    expect(addon.tensorResults(op("unbind", "int"))).toEqual([true]);
    expect(addon.tensorResults(op("_local_scalar_dense"))).toEqual([false]);
    expect(addon.tensorResults(op("native_layer_norm"))).toEqual([true, true, true]);
    expect(addon.tensorResults(op("_choose_qparams_per_tensor"))).toEqual([false, false]);
    expect(() => addon.tensorResults(1e6)).toThrow("operator 1000000 was never looked up");
  });

  test("gives NaN for NaN in a product of its own kernels", () => {
    const x = addon.fromBytes(Float32Array.of(Number.NaN, 0, Number.POSITIVE_INFINITY), "float32", [3], "cpu");
    const y = addon.call(addon.lookup("gblr::gelu_tanh", ""), x) as number;
    expect(floats(y)).toEqual([Number.NaN, 0, Number.POSITIVE_INFINITY]);
    for (const handle of [x, y]) addon.free(handle);
  });

  test("refuses operands of its own operators that do not fit, before it reads them", () => {
    const own = (name: string) => addon.lookup(`gblr::${name}`, "");
    const [row, weight, gain] = [matrix(1, 3), matrix(2, 4), matrix(1, 1)];
    const heads = (count: number) => addon.fromBytes(new Float32Array(count * 2), "float32", [1, count, 1, 2], "cpu");
    const [q, k] = [heads(3), heads(2)];
    expect(() => call(own("few_rows_product"), row, weight, null, false)).toThrow("x and weight do not fit");
    expect(() => call(own("few_rows_product"), row, row, gain, false)).toThrow("bias must be (1)");
    expect(() => call(own("rms_norm"), row, gain, 1e-6)).toThrow("gain must be (3)");
    expect(() => call(own("rotary"), q, row, row, false)).toThrow("cos and sin must be (1, r/2) with r at most 2");
    expect(() => call(own("gated_activation"), row, weight, false)).toThrow("expects the shape of gate, [1, 3]");
    expect(() => call(own("one_query_attention"), q, k, k, 1)).toThrow("k does not fit");
    for (const handle of [row, weight, gain, q, k]) addon.free(handle);
  });

  test("keeps ATen's message and names the operator", () => {
    const a = matrix(2, 3);
    const b = matrix(2, 3);
    expect(() => addon.call(op("mm"), a, b)).toThrow(/^aten::mm: .*shapes cannot be multiplied \(2x3 and 2x3\)/);
    for (const handle of [a, b]) addon.free(handle);
  });

  test("says which argument is wrong, what it must be and what it got", () => {
    const a = matrix(1, 1);
    const mm = op("mm");
    expect(() => call(mm, a)).toThrow("aten::mm: argument 'mat2' is missing");
    expect(() => call(mm, a, a, a)).toThrow("aten::mm: takes 2 arguments, got 3");
    expect(() => call(mm, a, "b")).toThrow("aten::mm: argument 'mat2' must be a tensor handle, got the string \"b\"");
    expect(() => call(mm, a, null)).toThrow("must be a tensor handle, got null");
    expect(() => call(op("cat"), a)).toThrow("argument 'tensors' must be an array, each item a tensor handle");
    expect(() => call(op("transpose", "int"), a, 0.5, 1)).toThrow("argument 'dim0' must be an integer, got 0.5");
    expect(() => call(op("sum"), a, "float31")).toThrow('dtype "float31" is unknown');
    expect(() => addon.lookup("aten::mmm", "")).toThrow("operator aten::mmm does not exist in this libtorch");
    expect(() => call(1e6)).toThrow("operator 1000000 was never looked up");
    expect(() => call()).toThrow("call: takes 1 arguments, got 0");
    addon.free(a);
  });

  test("takes an array whose items are read through JavaScript that calls the addon again", () => {
    const a = matrix(1, 2, 1);
    const again = [a, a];
    Object.defineProperty(again, 0, {
      get() {
        addon.free(addon.call(op("cat"), [a, a], 0) as number);
        return a;
      },
    });
    const joined = addon.call(op("cat"), again, 0) as number;
    expect(floats(joined)).toEqual([1, 1, 1, 1]);
    addon.free(joined);
    addon.free(a);
  });

  test("takes no layout or memory format that ATen does not know", () => {
    const a = matrix(1, 1);
    expect(() => addon.call(op("clone"), a, 77)).toThrow("must be a memory format (0 to 3) or null, got 77");
    expect(() => addon.call(op("zeros"), [1], "float32", 9)).toThrow("must be a layout (0, strided) or null, got 9");
    addon.free(a);
  });

  test("recognizes a handle that was freed, also after its place was given to another tensor", () => {
    const a = matrix(1, 1);
    addon.free(a);
    const b = matrix(1, 1);
    expect(a).not.toBe(b);
    expect(() => addon.free(a)).toThrow("is not alive: it was freed or never given out");
    expect(() => addon.read(a)).toThrow("is not alive");
    expect(() => addon.call(op("abs"), a)).toThrow("a tensor handle that is alive");
    addon.free(b);
  });

  test("refuses bytes that do not fill the shape", () => {
    expect(() => addon.fromBytes(new Float32Array(3), "float32", [2, 2], "cpu")).toThrow(
      "data has 12 bytes, the shape requires 16",
    );
    expect(() => addon.fromBytes(new Float32Array(1), "float32", [-1], "cpu")).toThrow("must not be negative");
    expect(() => addon.fromBytes(new Float32Array(1), "float32", [1], "tpu")).toThrow('device "tpu" is unknown');
  });

  test("turns a request for more memory than there is into an error, and goes on", () => {
    expect(() => addon.call(op("zeros"), [1e6, 1e6], "float32")).toThrow(
      /^aten::zeros: out of memory: requested 4000 GB, .* GB are available/,
    );
    const a = matrix(2, 2);
    expect(floats(a)).toEqual([1, 1, 1, 1]);
    addon.free(a);
  });

  test("says so when CUDA is asked for and absent", () => {
    if (addon.cudaDevices().length > 0) return;
    const message =
      /^device "cuda:0" is not available: (this libtorch is built without CUDA|CUDA finds no GPU, or no .*)$/;
    expect(() => addon.fromBytes(new Float32Array(1), "float32", [1], "cuda:0")).toThrow(message);
    expect(() => addon.call(op("zeros"), [1], "float32", 0, "cuda:0")).toThrow(message);
    expect(() => addon.synchronize("cuda:0")).toThrow(message);
    expect(() => addon.selectDevice("cuda:0")).toThrow(message);
    expect(() => addon.generator("cuda:0", 1)).toThrow(message);
    expect(() => addon.cudaMemory("cuda:0")).toThrow(message);
  });

  test("forms no group of NCCL without a GPU, by NCCL's own check where it is built in", async () => {
    if (!addon.hasProcessGroups() || addon.cudaDevices().length > 0) return;
    const group = await addon.joinGroup("127.0.0.1", await freePort(), 1, "alone", 0, 1, 20, "", "127.0.0.1");
    const message = addon.hasNccl() ? /no GPUs found/ : "the native engine is built without NCCL";
    await expect(addon.useNccl(group, "cuda:0")).rejects.toThrow(message);
    addon.leaveGroup(group);
  });

  test("gives freed memory out again instead of asking the system", () => {
    const step = () => addon.free(addon.call(op("zeros"), [1 << 20], "float32") as number);
    step();
    const before = addon.memory();
    for (let i = 0; i < 10; i++) step();
    const after = addon.memory();
    expect(after.fresh).toBe(before.fresh);
    expect(after.inUse).toBe(before.inUse);
    addon.releaseCache();
    expect(addon.memory().cached).toBe(0);
  });

  test("survives any arguments to any of its functions", () => {
    const alive = matrix(2, 2);
    // Large enough to be wrong everywhere, small enough that a shape of them is not filled for seconds.
    const integer = fc.integer({ min: -10_000, max: 10_000 });
    const anything = fc.oneof(
      fc.double(),
      integer,
      fc.constant(alive),
      fc.string(),
      fc.boolean(),
      fc.constantFrom(null, undefined, {}, [], [alive], [null], new Float32Array(2), Symbol.iterator, () => 0, 10n),
      fc.array(fc.oneof(integer, fc.constant(alive), fc.string(), fc.constant(null)), { maxLength: 3 }),
    );
    // Not these: they change the process for the tests that follow.
    const spared = new Set(["attach", "free", "setThreads", "seed", "autocast", "allowTf32", "selectDevice"]);
    const names = Object.keys(addon).filter((name) => !spared.has(name)) as (keyof Addon)[];
    const operators = ["mm", "cat", "sum", "relu", "clone", "zeros", "reshape", "add.Tensor", "gelu", "index.Tensor"];
    const ids = operators.map((name) => op(...(name.split(".") as [string, string?])));
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.constantFrom(...ids),
        fc.array(anything, { maxLength: 5 }),
        (name, id, args) => {
          const run = addon[name] as (...args: unknown[]) => unknown;
          try {
            const result = name === "call" ? run(id, ...args) : run(...args);
            if (result instanceof Promise) result.catch(() => undefined);
          } catch (error) {
            expect((error as Error).message.length).toBeGreaterThan(0);
          }
        },
      ),
      { numRuns: 3000, seed: 20260101 },
    );
    expect(floats(alive)).toEqual([1, 1, 1, 1]);
  });
});
