// A Hub behind a path, as a company's proxy has it: HF_ENDPOINT=http://host/api/hf, with and without a slash. Every request
// stays below the path, whatever redirects and links say, and the token goes to that host alone.

import { afterAll, expect, test } from "bun:test";
import path from "node:path";
import { latestCommit, listCommit } from "../../../hub/pull/resolve.ts";
import { push } from "../../../hub/push/index.ts";
import { requestContext } from "../../../hub/request/context.ts";
import { underEndpoint, withWholeLinks } from "../../../hub/request/hub-fetch.ts";
import { withHub } from "../../../workbench/cli/shared/hub-access.ts";
import { filesIn, pullAll } from "../pull/pulling.ts";
import { bytesOf, lay, TOKEN, testHub } from "../serve/serving.ts";
import { temporaryFolder } from "../temporary.ts";

const GBLR = path.join(import.meta.dir, "../../../workbench/cli/gblr.ts");
const BASE = "/api/hf";
const REPO = { type: "model", id: "x/y", revision: "main" } as const;
const FILES = { "config.json": "{}", "model.safetensors": bytesOf(5000, 3), "sub/a b.txt": "a" };
const at = temporaryFolder();

interface Asked {
  path: string;
  token: string | null;
}

const hub = await testHub();
lay(hub.folder, Object.fromEntries(Object.entries(FILES).map(([name, content]) => [`models/x/y/${name}`, content])));
const proxy = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: passOn });
const storage = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: (request) => {
    note(stored, request);
    return passOnTo(request, new URL(request.url).pathname);
  },
});
afterAll(() => Promise.all([proxy.stop(true), storage.stop(true)]));

/** what came to the proxy, and what to the storage */
let asked: Asked[] = [];
let stored: Asked[] = [];
/** where a request for a file is sent on; nothing: it is answered */
let redirect: (path: string) => string | undefined = () => undefined;
/** what the addresses of uploads begin with */
let uploads = "";
/** the link to the next page of a listing */
let nextLink: (query: string) => string;

const note = (list: Asked[], request: Request) =>
  list.push({ path: new URL(request.url).pathname, token: request.headers.get("authorization") });

async function passOnTo(request: Request, path: string): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.delete("host");
  // The storage's own, where no token came.
  if (!headers.has("authorization")) headers.set("authorization", `Bearer ${TOKEN}`);
  const body = request.body ? await request.arrayBuffer() : null;
  const init = { method: request.method, headers, body, redirect: "manual" } as const;
  return fetch(hub.url + path + new URL(request.url).search, init);
}

async function passOn(request: Request): Promise<Response> {
  note(asked, request);
  const { pathname, searchParams } = new URL(request.url);
  if (!pathname.startsWith(`${BASE}/`)) return new Response("nothing is outside of the path", { status: 404 });
  const own = pathname.slice(BASE.length);
  const location = own.includes("/resolve/") && !searchParams.has("moved") ? redirect(own) : undefined;
  if (location !== undefined) return new Response(null, { status: 307, headers: { location } });
  const response = await passOnTo(request, own);
  if (own.endsWith("/objects/batch"))
    return Response.json(JSON.parse((await response.text()).replaceAll(hub.url, uploads)));
  if (!own.includes("/tree/")) return response;
  // A page an entry.
  const entries = (await response.json()) as unknown[];
  const number = Number(searchParams.get("page") ?? 0);
  const more = number + 1 < entries.length;
  const link = nextLink(`${own}?recursive=true&page=${number + 1}`);
  return Response.json(entries.slice(number, number + 1), { headers: more ? { link } : {} });
}

const origin = () => `http://127.0.0.1:${proxy.port}`;
const absolute = (address: string) => `<${origin()}${BASE}${address}>; rel="next"`;

async function accessFrom(endpoint: string, cache: string) {
  const env = { HF_ENDPOINT: endpoint, HF_TOKEN: TOKEN, HF_HUB_CACHE: cache, HOME: at() };
  return withHub(env, async (access) => access);
}

function forget(): void {
  [asked, stored] = [[], []];
  [redirect, nextLink] = [() => undefined, absolute];
}

async function expectWhole(endpoint: string, cache: string): Promise<void> {
  const { pulled } = await pullAll(await accessFrom(endpoint, at(cache)));
  const files = await filesIn(pulled.folder);
  expect([...files.keys()]).toEqual(Object.keys(FILES));
  for (const [name, content] of Object.entries(FILES)) expect(files.get(name)).toEqual(Buffer.from(content));
}

test.each([
  ["without a slash", ""],
  ["with a slash", "/"],
  ["with two", "//"],
])("every request stays below the path, %s at its end", async (name, end) => {
  forget();
  await expectWhole(`${origin()}${BASE}${end}`, `slash ${name}`);
  expect(asked.length).toBeGreaterThanOrEqual(Object.keys(FILES).length + 2);
  for (const { path, token } of asked) {
    expect(path).toMatch(/^\/api\/hf\/(api\/models\/|x\/y\/)/);
    expect(token).toBe(`Bearer ${TOKEN}`);
  }
});

test.each<[string, (own: string) => string]>([
  ["to a path below it", (own) => `${BASE}${own}?moved=1`],
  ["to an address below it", (own) => `${origin()}${BASE}${own}?moved=1`],
  ["to a query", () => "?moved=1"],
  ["to a path as the Hub behind writes it", (own) => `${own}?moved=1`],
  ["to an address as the Hub behind writes it", (own) => `${origin()}${own}?moved=1`],
])("a redirect %s stays below it", async (name, location) => {
  forget();
  redirect = location;
  await expectWhole(`${origin()}${BASE}`, `redirect ${name}`);
  expect(asked.every(({ path, token }) => path.startsWith(`${BASE}/`) && token === `Bearer ${TOKEN}`)).toBe(true);
});

test("a redirect out of the path to what is only there is followed", async () => {
  forget();
  const other = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => {
      const { pathname } = new URL(request.url);
      if (pathname.startsWith("/files/")) return passOnTo(request, pathname.slice("/files".length));
      const own = pathname.slice(BASE.length);
      if (!pathname.startsWith(BASE) || own.startsWith("/files/")) return new Response(null, { status: 404 });
      if (!own.includes("/resolve/")) return passOnTo(request, own);
      return new Response(null, { status: 302, headers: { location: `/files${own}` } });
    },
  });
  await expectWhole(`http://127.0.0.1:${other.port}${BASE}`, "outside");
  await other.stop(true);
});

test("a redirect to another host carries no token", async () => {
  forget();
  redirect = (own) => `http://127.0.0.1:${storage.port}${own}`;
  await expectWhole(`${origin()}${BASE}`, "storage");
  expect(stored.length).toBe(Object.keys(FILES).length);
  expect(stored.every(({ token }) => token === null)).toBe(true);
});

test.each<[string, (address: string) => string]>([
  ["an address", absolute],
  ["a path below it", (address) => `<${BASE}${address}>; rel="next"`],
  ["a path as the Hub behind writes it", (address) => `<${address}>; rel="next"`],
  ["an address as the Hub behind writes it", (address) => `<${origin()}${address}>;rel=next`],
  ["an address of the Hub that is mirrored", (address) => `<https://huggingface.co${address}>; rel="next"`],
])("all pages of a listing are read, where the link to the next is %s", async (name, link) => {
  forget();
  nextLink = link;
  const context = requestContext(await accessFrom(`${origin()}${BASE}`, at(`link ${name}`)), REPO);
  const files = await listCommit(await latestCommit(context), context);
  expect(files.map(({ path }) => path).sort()).toEqual(Object.keys(FILES));
  expect(asked.every(({ path, token }) => path.startsWith(`${BASE}/`) && token === `Bearer ${TOKEN}`)).toBe(true);
});

test.each([
  ["another host", () => `http://127.0.0.1:${storage.port}`, 1],
  ["a relative address", () => "", 0],
])(
  "a push stays below the path; large files go to %s, which gets no token unless it is there",
  async (name, to, others) => {
    forget();
    uploads = to();
    const folder = at("new");
    lay(folder, { "config.json": "{}", "model.safetensors": bytesOf(3000 + others, 9) });
    const access = await accessFrom(`${origin()}${BASE}/`, at(`push ${name}`));
    const repo = { ...REPO, id: `me/new${others}` };
    for await (const _ of push(folder, repo, access, { create: true }));
    const { pulled } = await pullAll(access, {}, repo);
    expect((await filesIn(pulled.folder)).get("model.safetensors")).toEqual(Buffer.from(bytesOf(3000 + others, 9)));
    const paths = asked.map(({ path }) => path);
    expect(paths).toContain(`${BASE}/api/repos/create`);
    expect(paths).toContain(`${BASE}/me/new${others}.git/info/lfs/objects/batch`);
    expect(paths.some((each) => each.includes("/commit/main"))).toBe(true);
    expect(asked.every(({ path, token }) => path.startsWith(`${BASE}/`) && token === `Bearer ${TOKEN}`)).toBe(true);
    expect(stored.map(({ token }) => token)).toEqual(Array.from({ length: others }, () => null));
  },
);

test("gblr reads HF_ENDPOINT with a path", async () => {
  forget();
  for (const end of ["", "/"]) {
    const env = {
      ...process.env,
      HF_ENDPOINT: `${origin()}${BASE}${end}`,
      HF_TOKEN: TOKEN,
      HF_HUB_CACHE: at(`cli${end.length}`),
    };
    const child = Bun.spawn([process.execPath, GBLR, "pull", "x/y", "--json"], { env, stdout: "pipe" });
    expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject({ files: Object.keys(FILES) });
  }
});

test.each([
  ["http://h/x", "http://h/a", "http://h/a/x"],
  ["http://h/a/x?y=1", "http://h/a", undefined],
  ["http://h/a", "http://h/a", undefined],
  ["http://h/ab", "http://h/a", "http://h/a/ab"],
  ["http://h/x", "http://h", undefined],
  ["http://other/x", "http://h/a", undefined],
  ["https://h/x", "http://h/a", undefined],
])("%s belongs below %s as %s", (address, endpoint, expected) => {
  expect(underEndpoint(new URL(address), new URL(endpoint))?.href).toBe(expected);
});

test("headers without links stay as they are", () => {
  const headers = new Headers({ etag: '"1"' });
  expect(withWholeLinks(headers, new URL("http://h/a"), { endpoint: "http://h", cache: "" })).toBe(headers);
});
