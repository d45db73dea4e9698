// Verbs that take a model from a cache that Python's client has filled, without a network.

import { beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Model, saveModelNow } from "../../workbench/models/index.ts";
import { smallResnet } from "../architectures/small-vision.ts";
import { lay, TOKEN, testHub } from "../hub/serve/serving.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { PATIENCE, pythonWith } from "../python/python.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const at = temporaryFolder();

beforeAll(async () => {
  await openEngine();
});

function gblr(cache: string, ...args: string[]) {
  const env = { ...process.env, HF_HUB_CACHE: cache, HF_HUB_OFFLINE: "1", HF_ENDPOINT: "http://127.0.0.1:64999" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, GBLR, ...args], { env });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

const DOWNLOAD = `
import sys
from huggingface_hub import hf_hub_download
for name in ("config.json", "model.safetensors"):
    hf_hub_download("x/y", name, endpoint=sys.argv[1], cache_dir=sys.argv[2])
`;
const python = pythonWith("huggingface_hub");
if (!python) console.log("offline.test.ts: Python's client is not here; its cache is laid by hand");

test(
  "verbs take a model from such a cache, and say which file it lacks",
  async () => {
    const folder = at("hub", "models/x/y");
    const model = smallResnet() as Model;
    await saveModelNow(model, folder);
    model.dispose();
    const [config, weights] = [`${folder}/config.json`, `${folder}/model.safetensors`];
    const cache = at("cache");
    if (python) {
      const hub = await testHub({ folder: at("hub") });
      const child = Bun.spawn([python, "-c", DOWNLOAD, hub.url, cache], { env: { ...process.env, HF_TOKEN: TOKEN } });
      expect(await child.exited).toBe(0);
    } else {
      lay(at("cache/models--x--y"), { "refs/main": COMMIT });
      for (const file of [config, weights]) {
        const bytes = new Uint8Array(await Bun.file(file).arrayBuffer());
        lay(at("cache/models--x--y/snapshots", COMMIT), { [path.basename(file)]: bytes });
      }
    }
    const exported = gblr(cache, "export", "x/y", "--to", "dense", "--out", at("dense"));
    expect({ code: exported.code, stderr: exported.stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    expect(gblr(cache, "inspect", "x/y").code).toBe(0);
    const snapshots = new Bun.Glob("models--x--y/snapshots/*/model.safetensors");
    for (const file of snapshots.scanSync({ cwd: cache, followSymlinks: true })) rmSync(path.join(cache, file));
    const { code, stderr } = gblr(cache, "inspect", "x/y");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gblr: [^\n]*has neither model\.safetensors, [^\n]*\n$/);
  },
  PATIENCE,
);
