// The Hub of an environment: the variables mean what they mean in Python.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { withHub } from "../../workbench/cli/shared/hub-access.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const folder = temporaryFolder();
const accessOf = (env: Record<string, string>) => withHub(env, async (access) => access);
const empty = folder("empty");

test("without variables it is huggingface.co, and the cache is in the home folder", async () => {
  const access = await accessOf({ HOME: empty });
  expect(access).toEqual({
    endpoint: "https://huggingface.co",
    token: undefined,
    cache: `${empty}/.cache/huggingface/hub`,
    offline: false,
  });
  expect((await accessOf({ HF_TOKEN: "hf_x" })).cache).toBe(`${homedir()}/.cache/huggingface/hub`);
});

test.each([
  [{ HF_HOME: "/data/hf" }, "/data/hf/hub"],
  [{ HF_HOME: "~/hf", HOME: "/home/me" }, "/home/me/hf/hub"],
  [{ HF_HOME: `$DATA/\${WHO}/hf`, DATA: "/d", WHO: "me" }, "/d/me/hf/hub"],
  [{ HF_HOME: "/data/hf", HF_HUB_CACHE: "/fast/hub" }, "/fast/hub"],
  [{ HUGGINGFACE_HUB_CACHE: "/old/hub" }, "/old/hub"],
  [{ XDG_CACHE_HOME: "/var/cache" }, "/var/cache/huggingface/hub"],
])("%j puts the cache at %s", async (env, cache) => {
  expect((await accessOf({ HF_TOKEN: "hf_x", ...env })).cache).toBe(cache);
});

test("the token is the variable's, else that of the file that a login leaves", async () => {
  mkdirSync(folder("home"), { recursive: true });
  writeFileSync(folder("home", "token"), "hf_fromfile\n");
  writeFileSync(folder("elsewhere"), " hf_elsewhere\r\n");
  const home = folder("home");
  expect((await accessOf({ HF_HOME: home })).token).toBe("hf_fromfile");
  expect((await accessOf({ HF_HOME: home, HF_TOKEN: "hf_variable\n" })).token).toBe("hf_variable");
  expect((await accessOf({ HF_HOME: home, HF_TOKEN: " " })).token).toBe("hf_fromfile");
  expect((await accessOf({ HF_HOME: home, HF_TOKEN_PATH: folder("elsewhere") })).token).toBe("hf_elsewhere");
  expect((await accessOf({ HF_HOME: folder("nothing") })).token).toBeUndefined();
});

test("a token that cannot be sent is refused without being quoted", async () => {
  const wrong = accessOf({ HF_TOKEN: "hf_a b" });
  await expect(wrong).rejects.toThrow("HF_TOKEN is not a token: it has spaces or other invalid characters");
  await expect(wrong).rejects.not.toThrow("hf_a");
});

test.each([
  ["1", true],
  ["true", true],
  ["YES", true],
  ["on", true],
  ["0", false],
  ["", false],
])("HF_HUB_OFFLINE=%s", async (text, offline) => {
  expect((await accessOf({ HOME: empty, HF_HUB_OFFLINE: text })).offline).toBe(offline);
});

test.each([["huggingface.co"], ["ftp://x"], ["http://"], ["file:"]])("HF_ENDPOINT=%s is one line", async (endpoint) => {
  await expect(accessOf({ HF_ENDPOINT: endpoint, HOME: empty })).rejects.toThrow(/^HF_ENDPOINT is "/);
});

test("a slash at the end of the address is none", async () => {
  expect((await accessOf({ HF_ENDPOINT: "http://hub.lan:8080/hf/", HOME: empty })).endpoint).toBe(
    "http://hub.lan:8080/hf",
  );
});

test.each([["file:"], ["file://"]])(
  "%s and a folder is a Hub of its own, with a token of its own, until it is closed",
  async (scheme) => {
    mkdirSync(folder("served/models/me/model"), { recursive: true });
    writeFileSync(folder("served/models/me/model/config.json"), "{}");
    const url = await withHub(
      { HF_ENDPOINT: `${scheme}${folder("served")}`, HF_TOKEN: "hf_ofanotherhub", HOME: empty },
      async (access) => {
        expect(access.endpoint).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
        expect(access.token).toMatch(/^hf_.{20,}$/);
        const info = await fetch(`${access.endpoint}/api/models/me/model`);
        expect(((await info.json()) as { id: string }).id).toBe("me/model");
        return access.endpoint;
      },
    );
    await expect(fetch(url)).rejects.toThrow();
  },
);

test("a folder that cannot be served is one line", async () => {
  await expect(accessOf({ HF_ENDPOINT: `file:${folder("absent")}`, HOME: empty })).rejects.toThrow(
    /absent cannot be served: [^\n]*$/,
  );
});
