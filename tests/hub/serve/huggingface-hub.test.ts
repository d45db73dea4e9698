// Python's own huggingface_hub against a local Hub: with its Xet, which it uses wherever hf_xet is installed, and without.

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { serveHub } from "../../../hub/serve/index.ts";
import { PATIENCE, pythonWith, runPython } from "../../python/python.ts";
import { bytesOf, filesIn, lay, newFolder, TOKEN, testHub } from "./serving.ts";

const python = pythonWith("huggingface_hub", "hf_xet");
const SCRIPT = path.join(import.meta.dirname, "official_client.py");

interface Answer extends Record<string, unknown> {
  refused: Record<string, string>;
  version: number;
}

/** Bytes of noise, of floats whose upper bytes repeat, and of text that repeats: chunks are compressed in every way. */
function contents(): Record<string, string | Uint8Array> {
  const floats = Float32Array.from({ length: 200_000 }, (_, i) => Math.fround(Math.sin(i * i) / 8));
  return {
    "weights.bin": bytesOf(700_001, 3),
    "model.safetensors": new Uint8Array(floats.buffer),
    "sub/again.safetensors": new Uint8Array(floats.buffer, 400_000),
    "text.parquet": "the same words ".repeat(60_000),
    "one.bin": new Uint8Array([7]),
    "config.json": '{"model_type": "gpt2"}',
    "empty.txt": "",
  };
}

test.skipIf(!python)(
  "a client that has sent a file sends it again to a Hub that has lost it",
  async () => {
    const [home, served] = [newFolder(), newFolder()];
    const code = `
import os
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("me/again", exist_ok=True)
api.upload_file(repo_id="me/again", path_in_repo="w.bin", path_or_fileobj=bytes(range(256)) * 4000)`;
    let port = 0;
    for (let round = 0; round < 2; round++) {
      const hub = await serveHub({ folder: served, token: TOKEN, port });
      port = Number(new URL(hub.url).port);
      const env = { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HF_HOME: home, HF_HUB_DISABLE_PROGRESS_BARS: "1" };
      expect(await runPython(python, code, { env })).toMatchObject({ status: 0 });
      await hub.close();
      expect(filesIn(served)["models/me/again/w.bin"]?.length).toBe(256 * 4000);
      for (const name of readdirSync(served)) rmSync(path.join(served, name), { recursive: true });
    }
  },
  PATIENCE,
);

for (const [name, env] of [
  ["as it comes", {}],
  ["without Xet", { HF_HUB_DISABLE_XET: "1" }],
] as const) {
  test.skipIf(!python)(
    `huggingface_hub uploads, downloads and squashes, ${name}`,
    async () => {
      const [folder, home, back] = [newFolder(), newFolder(), newFolder()];
      lay(folder, contents());
      const sums = Object.fromEntries(
        Object.keys(filesIn(folder)).map((file) => [
          file,
          createHash("sha256")
            .update(readFileSync(path.join(folder, file)))
            .digest("hex"),
        ]),
      );
      const hub = await testHub();
      const { status, stdout, stderr } = await runPython(python, SCRIPT, {
        args: [folder, back],
        env: { ...env, HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HF_HOME: home, HF_HUB_DISABLE_PROGRESS_BARS: "1" },
      });
      expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
      const { refused, version, ...out } = JSON.parse(stdout.trim().split("\n").at(-1) as string) as Answer;
      expect(out).toEqual({
        upload_folder: sums,
        upload_large_folder: sums,
        hf_hub_download: true,
        reversed: true,
        squash: [4, ["one commit"], ["a.txt", "again.bin", "deep/w.bin"]],
        squashed: "two",
        before: "one",
        dev: ["Super-squash branch 'dev' using huggingface_hub"],
      });
      expect(refused).toEqual({
        tag: expect.stringContaining('"v1" is a tag, not a branch'),
        "no branch": expect.stringContaining('me/single has no branch "none"'),
        "pull request": expect.stringContaining("a local Hub does not support pull requests"),
        "upload as one": expect.stringContaining("a local Hub does not support pull requests"),
        "wrong token": expect.stringContaining("this token may not write to this Hub"),
      });
      const xorbs = hub.events.filter((event) => event.kind === "request" && event.path.includes("/v1/xorbs/"));
      // Earlier versions ask which way they should go, and are told LFS.
      if (version >= 2) expect(xorbs.length > 0).toBe(name === "as it comes");
      expect(hub.events.filter(({ kind }) => kind === "fault")).toEqual([]);
    },
    PATIENCE,
  );
}
