// The official client through a proxy that breaks, cuts and corrupts: what gets through is whole, what does not is an
// error, and trying again is enough in the end.

import { expect, test } from "bun:test";
import path from "node:path";
import { createRepo, downloadFile, listFiles, uploadFiles } from "@huggingface/hub";
import { type Fault, faultyProxy } from "./faulty-proxy.ts";
import { bytesOf, filesIn, sha256, TOKEN, testHub } from "./serving.ts";

const hub = await testHub({ multipartFrom: 60_000, partSize: 20_000 });
const UPLOAD_FAULTS: Fault[] = ["reset", "lose", "busy", "truncate-upload", "corrupt-upload", "truncate"];

test.each([[1], [2], [3]])(
  "pushes through a storm are whole in the end, and never half there (seed %i)",
  async (seed) => {
    const repo = `storm/push-${seed}`;
    await createRepo({ repo, hubUrl: hub.url, accessToken: TOKEN });
    const proxy = await faultyProxy({ target: hub.url, seed, rate: 0.25, faults: UPLOAD_FAULTS });
    const files = {
      "w.safetensors": bytesOf(150_000, seed),
      "b.bin": bytesOf(9000, seed + 1),
      "c.txt": new Uint8Array(Buffer.from("text")),
    };
    const wanted = Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes).toString("latin1")]),
    );
    const folder = path.join(hub.folder, "models", repo);
    let tries = 0;
    for (let done = false; !done; tries++) {
      if (tries === 12) proxy.rate = 0;
      done = await uploadFiles({
        repo,
        hubUrl: proxy.url,
        accessToken: TOKEN,
        files: Object.entries(files).map(([name, bytes]) => ({ path: name, content: new Blob([bytes]) })),
      }).then(
        () => true,
        () => false,
      );
      const there = filesIn(folder);
      // Only small contents travel in the commit itself, where a wrong byte can pass unnoticed: base64 has no checksum.
      for (const name of ["w.safetensors", "b.bin"])
        if (name in there) expect(there[name]).toBe(wanted[name] as string);
      expect([0, 3]).toContain(Object.keys(there).length);
    }
    const faults = UPLOAD_FAULTS.reduce((sum, fault) => sum + proxy.counts[fault], 0);
    expect(faults).toBeGreaterThan(0);
    expect(Object.keys(filesIn(folder)).sort()).toEqual(Object.keys(wanted).sort());
    await proxy.close();
  },
);

test("what comes through a storm can be checked by its ETag, and is right when it fits", async () => {
  const repo = "storm/pull";
  const weights = bytesOf(200_000, 9);
  await createRepo({ repo, hubUrl: hub.url, accessToken: TOKEN });
  await uploadFiles({
    repo,
    hubUrl: hub.url,
    accessToken: TOKEN,
    files: [{ path: "w.bin", content: new Blob([weights]) }],
  });
  const proxy = await faultyProxy({
    target: hub.url,
    seed: 5,
    rate: 0.4,
    faults: ["reset", "lose", "truncate", "corrupt", "busy"],
  });
  const counts = { right: 0, wrong: 0, failed: 0 };
  for (let i = 0; i < 40; i++) {
    const answer = await fetch(`${proxy.url}/${repo}/resolve/main/w.bin`).catch(() => undefined);
    const body = await answer?.arrayBuffer().catch(() => undefined);
    if (answer?.status !== 200 || !body) {
      counts.failed++;
      continue;
    }
    const fits = answer.headers.get("etag") === `"${sha256(new Uint8Array(body))}"`;
    counts[fits ? "right" : "wrong"]++;
    expect(Buffer.from(body).equals(weights)).toBe(fits);
  }
  expect(counts.wrong).toBe(proxy.counts.corrupt);
  // Not all of them: fetch itself asks again where a connection broke before an answer.
  expect(counts.failed).toBeLessThanOrEqual(
    proxy.counts.reset + proxy.counts.lose + proxy.counts.truncate + proxy.counts.busy,
  );
  expect(Math.min(...Object.values(counts))).toBeGreaterThan(0);
  proxy.rate = 0;
  for await (const entry of listFiles({ repo, hubUrl: proxy.url })) {
    const blob = await downloadFile({ repo, path: entry.path, hubUrl: proxy.url });
    expect(new Uint8Array(await (blob as Blob).arrayBuffer())).toEqual(weights);
  }
  await proxy.close();
});
