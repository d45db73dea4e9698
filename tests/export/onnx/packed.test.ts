// Packed layers of every layout in onnxruntime, and the bytes that they take in a file.

import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import type { Model } from "../../../workbench/models/index.ts";
import { saveModelNow } from "../../../workbench/models/index.ts";
import { forEachEngine } from "../../engine/engines.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { livelier, tinyGpt2 } from "../../models/tiny.ts";
import { PATIENCE } from "../../python/python.ts";
import { expectSame, exported, fedIds, hasOnnx, logitsOfIds, runOnnx } from "./runtime.ts";
import { columnTiles, holdPacked, rowTiles, scatteredBlocks } from "./tiles.ts";

const at = temporaryFolder();
const WIDE = { n_embd: 192, n_layer: 1, n_inner: 768 };

/** One layer as tiles of columns, one as tiles of rows, one of scattered blocks, and one without blocks. */
function packedModel(): Model {
  const model = livelier(tinyGpt2(WIDE)) as Model;
  holdPacked(model, "h.0.mlp.c_proj", columnTiles([768, 192]));
  holdPacked(model, "h.0.mlp.c_fc", rowTiles([192, 768]));
  holdPacked(model, "h.0.attn.c_attn", scatteredBlocks([192, 576], 60));
  holdPacked(model, "h.0.attn.c_proj", []);
  return model;
}

forEachEngine("packed layers as ONNX", (_, { label }) => {
  const pathOf = (name: string) => at(`${label} ${name}`.replace(/[^\w.]+/g, "-"));

  test.skipIf(!hasOnnx)(
    "have the same logits in every layout",
    async () => {
      const model = packedModel();
      await exported(model, pathOf("layouts.onnx"));
      const [answer] = await runOnnx({
        file: pathOf("layouts.onnx"),
        runs: [{ inputs: { input_ids: fedIds(2, 9) } }, { inputs: { input_ids: fedIds(1, 1) } }],
      });
      expectSame(answer?.results[0], [2, 9, 40], await logitsOfIds(model, 2, 9));
      expectSame(answer?.results[1], [1, 1, 40], await logitsOfIds(model, 1, 1));
      // Groups multiply parts of their inputs. Matrices are made at load.
      expect(answer?.run).toContain("Slice");
      expect(answer?.run).not.toContain("ScatterElements");
      model.dispose();
    },
    PATIENCE,
  );

  test("take at most 1.1 times the bytes of model.safetensors", async () => {
    const model = packedModel();
    const bytes = await exported(model, pathOf("bytes.onnx"));
    await saveModelNow(model, pathOf("folder"));
    const packed = statSync(`${pathOf("folder")}/model.safetensors`).size;
    expect(bytes / packed).toBeLessThan(1.1);
    expect(statSync(pathOf("bytes.onnx")).size / packed).toBeLessThan(1.1);
    model.dispose();
  });
});
