// The memory of loading: the weights in their type, and no more than one tensor besides. Weights in half precision stay
// so when they are used.

import { beforeAll, describe, expect, test } from "bun:test";
import { type RandomType, writeRandomModel } from "../../bench/memory/random-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
/** Of 52 million parameters, 208 MB in float32. The largest tensor, the embedding, takes 62 MB. */
const CONFIG = { model_type: "gpt2", vocab_size: 30_000, n_positions: 256, n_embd: 512, n_layer: 12, n_head: 8 };
const LARGEST = 4 * CONFIG.vocab_size * CONFIG.n_embd;
/** What the runtime allocates meanwhile, and the unused ends of large pages. */
const ROOM = 48e6;

beforeAll(async () => {
  for (const dtype of ["F32", "BF16"] as const) await writeRandomModel(folder(dtype), CONFIG, dtype);
});

interface Raised {
  raised: number;
  evaluated: number;
  bytes: number;
}

function raisedBy(stored: RandomType, engine: string, dtype: string): Raised {
  const script = `${import.meta.dir}/load-peak-child.ts`;
  const { stdout, stderr } = Bun.spawnSync([process.execPath, script, folder(stored), engine, dtype]);
  expect(stderr.toString()).not.toContain("rror");
  return JSON.parse(`${stdout}`.trim().split("\n").at(-1) as string);
}

describe.skipIf(process.platform !== "linux")("loading takes", () => {
  for (const stored of ["F32", "BF16"] as const) {
    for (const engine of ["torch", "wasm"] as const) {
      test.skipIf(!ENGINES.some(({ name }) => name === engine))(
        `the weights and one tensor, ${stored} on ${engine}`,
        () => {
          const { raised, bytes } = raisedBy(stored, engine, "float32");
          expect(bytes).toBeGreaterThan(2e8);
          expect(raised).toBeGreaterThan(0.9 * bytes);
          expect(raised).toBeLessThan(bytes + (engine === "torch" ? 0 : LARGEST) + ROOM);
        },
      );
    }

    test.skipIf(!ENGINES.some(({ name }) => name === "torch"))(
      `half of the weights as bfloat16, from ${stored}`,
      () => {
        const { raised, bytes } = raisedBy(stored, "torch", "bfloat16");
        expect(raised).toBeLessThan(bytes / 2 + ROOM);
      },
    );
  }
});
