// Models that are looked at on the Hub: headers and small tensors come, the weights do not; and answers that are not what
// was asked for.

import { afterAll, expect, test } from "bun:test";
import { type OpenModel, openRemoteModel } from "../../hub/model-folder/index.ts";
import type { StoredTensor } from "../../hub/safetensors/index.ts";
import { encodeSafetensors, sourcesOf } from "../../hub/safetensors/write.ts";
import { type Fault, type HostileHub, hostileHub } from "./hostile-server.ts";
import { HASTY, pullAll, REPO } from "./pull/pulling.ts";
import { temporaryFolder } from "./temporary.ts";

const folder = temporaryFolder();
const CONFIG = new TextEncoder().encode('{"model_type":"gpt2"}');
const floats = (length: number): StoredTensor => ({
  dtype: "F32",
  shape: [length],
  data: Float32Array.from({ length }, (_, i) => i / 7),
});
// The small one is after the large one: neither lies in what comes with the header.
const SMALL = floats(10);
const TENSORS = new Map([
  ["large", floats(500_000)],
  ["small", SMALL],
]);
const WEIGHTS = await encodeSafetensors(sourcesOf(TENSORS));

const hubs: HostileHub[] = [];
afterAll(() => Promise.all(hubs.map((hub) => hub.close())));

async function start(files: Record<string, Uint8Array>, fault: HostileHub["fault"] = () => undefined) {
  const hub = await hostileHub({ "config.json": CONFIG, ...files });
  hub.fault = fault;
  hubs.push(hub);
  return { hub, access: { endpoint: hub.url, cache: folder(String(hubs.length)) } };
}

/** Read and closed. */
async function smallOf(model: OpenModel | undefined): Promise<StoredTensor> {
  if (!model) throw new Error("it was not opened");
  const small = await model.tensors.read("small");
  await model.tensors.close();
  return small;
}
const patience = HASTY;

test("of a file its header and what is read come, not the rest", async () => {
  const { hub, access } = await start({ "model.safetensors": WEIGHTS });
  const model = await openRemoteModel(REPO, access, { patience });
  expect([...(model?.tensors.tensors.keys() ?? [])]).toEqual(["large", "small"]);
  expect(await smallOf(model)).toEqual(SMALL);
  expect(model?.path).toBe("x/y/model.safetensors");
  expect(hub.sent).toBeLessThan(WEIGHTS.length / 10);
});

test("of shards likewise; a repository of trainable factors alone is opened by them", async () => {
  const index = {
    weight_map: { large: "model-00001-of-00002.safetensors", small: "model-00002-of-00002.safetensors" },
  };
  const [large, small] = await Promise.all([...TENSORS].map((entry) => encodeSafetensors(sourcesOf(new Map([entry])))));
  const { hub, access } = await start({
    "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)),
    "model-00001-of-00002.safetensors": large as Uint8Array,
    "model-00002-of-00002.safetensors": small as Uint8Array,
  });
  expect(await smallOf(await openRemoteModel(REPO, access, { patience }))).toEqual(SMALL);
  expect(hub.sent).toBeLessThan(WEIGHTS.length / 10);
  const trainable = await start({ "trainable.safetensors": WEIGHTS });
  expect(await smallOf(await openRemoteModel(REPO, trainable.access, { patience }))).toEqual(SMALL);
  const lacking = await start({ "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)) });
  expect(await failureOf(openRemoteModel(REPO, lacking.access, { patience }))).toBe(
    "x/y/model-00001-of-00002.safetensors: does not exist, although the index names it",
  );
});

test("weights that the cache has are opened there, without a request for them", async () => {
  const { hub, access } = await start({ "model.safetensors": WEIGHTS });
  const { pulled } = await pullAll(access);
  const sent = hub.sent;
  const model = await openRemoteModel(REPO, access, { patience });
  expect(model?.path.startsWith(pulled.folder)).toBe(true);
  expect(await smallOf(model)).toEqual(SMALL);
  expect(hub.sent).toBe(sent);
});

test("a repository whose weights are no safetensors has to be pulled", async () => {
  const { access } = await start({ "pytorch_model.bin": WEIGHTS });
  expect(await openRemoteModel(REPO, access, { patience })).toBeUndefined();
});

const onWeights = (faults: (Fault | undefined)[]) => (what: string, count: number) =>
  what === "model.safetensors" ? faults[count - 1] : undefined;

test.each<[string, (Fault | undefined)[]]>([
  ["breaks off", [{ cutAt: 1000 }, undefined, { cutAt: WEIGHTS.length - 5 }]],
  ["is busy", [{ status: 503 }, { status: 429 }]],
  ["sends the whole file where a part was asked for", Array(9).fill({ ignoreRange: true })],
])("a server that %s is got on with", async (_, faults) => {
  const { access } = await start({ "model.safetensors": WEIGHTS }, onWeights(faults));
  expect(await smallOf(await openRemoteModel(REPO, access, { patience }))).toEqual(SMALL);
});

test.each<[string, Fault, RegExp]>([
  ["sends another part", { headers: { "content-range": `bytes 5-9/${WEIGHTS.length}` } }, /byte 0 was requested, but/],
  ["has another file now", { headers: { "content-range": "bytes 0-65535/70000" } }, /it has 70000 bytes now, not \d+/],
  ["sends too much", { extra: 3 }, /65536 bytes were requested, 65539 arrived/],
  ["is busy for ever", { status: 503 }, /"model\.safetensors": \S+ answers with status 503$/],
  ["always breaks off", { cutAt: 100 }, /cannot be reached after 4 attempts \([^\n]*connection/],
  [
    "has the file no more",
    { status: 404, headers: { "x-error-code": "EntryNotFound" } },
    /has no file "model\.safeten/,
  ],
])("a server that %s is told of in one line", async (_, fault, message) => {
  const { access } = await start({ "model.safetensors": WEIGHTS }, onWeights(Array(9).fill(fault)));
  const said = await failureOf(openRemoteModel(REPO, access, { patience }));
  expect(said).toMatch(message);
  expect(said).toMatch(/^x\/y[^\n]+$/);
});

test("a header that lies about its file is refused as that of a file on the disk is", async () => {
  const cut = { "model.safetensors": WEIGHTS.subarray(0, WEIGHTS.length - 4) };
  const { access } = await start(cut);
  expect(await failureOf(openRemoteModel(REPO, access, { patience }))).toMatch(
    /^x\/y\/model\.safetensors: tensor "small": /,
  );
});

function failureOf(opening: Promise<unknown>): Promise<string> {
  return opening.then(
    () => "it was opened",
    (error: Error) => error.message,
  );
}
