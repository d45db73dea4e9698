// `gblr pull zoo:…` as a user runs it: a process of its own, a release on this machine, exit codes and single lines.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { push } from "../hub/checkpoint/build.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { tinyCheckpoint } from "../models/tiny-checkpoint.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const at = temporaryFolder();
let server: Server;

beforeAll(async () => {
  const bytes = await tinyCheckpoint(() => {}, push.dict({ n_head: push.int(2) }));
  server = createServer(({ url }, response) => {
    if (url?.endsWith("-gaudi.ckpt")) response.writeHead(200, { "content-length": bytes.length }).end(bytes);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => void server.close());

async function gblr(...args: string[]) {
  const child = Bun.spawn([process.execPath, GBLR, ...args], {
    env: {
      ...process.env,
      HF_HOME: at("huggingface"),
      HF_ENDPOINT: `file:${at()}`,
      GBLR_ZOO: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1.0.0/`,
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

test("gblr pull zoo:gpt2-gaudi prints a folder that gblr inspect reads", async () => {
  const { exitCode, stdout, stderr } = await gblr("pull", "zoo:gpt2-gaudi");
  const folder = at("huggingface", "gblr-zoo", "models", "gpt2-gaudi");
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `${folder}\n` });
  expect(stderr).toMatch(/^gblr: without the tokenizer of openai-community\/gpt2: [^\n]+\n$/);
  const json = await gblr("pull", "zoo:gpt2-gaudi", "--json", "--offline");
  expect(JSON.parse(json.stdout)).toEqual({ name: "zoo:gpt2-gaudi", folder });
  const inspected = await gblr("inspect", folder, "--json");
  expect(inspected.exitCode).toBe(0);
}, 60_000);

test("gblr pull says what the zoo lacks in one line, with exit code 1, and 2 for flags without meaning", async () => {
  const unknown = await gblr("pull", "zoo:gpt3");
  expect(unknown).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: "gblr: zoo:gpt3: is not in the zoo; available: zoo:gpt2-gaudi, zoo:vit-b-gaudi, zoo:resnet18-gaudi\n",
  });
  const vision = await gblr("pull", "zoo:vit-b-gaudi");
  expect(vision.exitCode).toBe(1);
  expect(vision.stderr).toMatch(/^gblr: [^\n]+\/imagenet-vit-b-gaudi\.ckpt: is a gpt2, no vit\n$/);
  const flags = await gblr("pull", "zoo:gpt2-gaudi", "--include", "*.json");
  expect(flags.exitCode).toBe(2);
  expect(flags.stderr).toMatch(/^gblr: --include does not apply to zoo:gpt2-gaudi, [^\n]+\n$/);
}, 60_000);
