// Who may ask a server, what it tells of itself, and its end.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type Serving, serveFolder } from "./serving.ts";

const at = temporaryFolder();
let served: Serving;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("tiny"), { positions: 512 });
  served = await serveFolder(at("tiny"));
}, 120_000);
afterAll(() => served?.end());

describe("a server", () => {
  test("with a key answers only those who have it, but says to all that it runs", async () => {
    const guarded = await serveFolder(at("tiny"), { key: "secret" });
    const status = async (path: string, headers: Record<string, string>) =>
      (await fetch(guarded.url + path, { headers })).status;
    expect(await status("/v1/models", {})).toBe(401);
    expect(await status("/v1/models", { Authorization: "Bearer secre" })).toBe(401);
    expect(await status("/metrics", {})).toBe(401);
    expect(await status("/v1/models", { Authorization: "Bearer secret" })).toBe(200);
    expect(await status("/health", {})).toBe(200);
    expect(await status("/layers", {})).toBe(401);
    // The page, which asks for the key.
    expect(await status("/", {})).toBe(200);
    expect(await status("/page/serve/main.js", {})).toBe(200);
    await guarded.end();
  });

  test("allows other origins only if it is told to", async () => {
    const asks = { headers: { Origin: "http://page.test" } };
    expect((await fetch(`${served.url}/v1/models`, asks)).headers.get("access-control-allow-origin")).toBeNull();
    const open = await serveFolder(at("tiny"), { origins: ["http://page.test"] });
    const allowed = await fetch(`${open.url}/v1/models`, asks);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("http://page.test");
    const preflight = await fetch(`${open.url}/v1/completions`, {
      method: "OPTIONS",
      headers: { Origin: "http://page.test", "Access-Control-Request-Method": "POST" },
    });
    expect(preflight.status).toBe(204);
    await open.end();
  });

  test("on loopback does not answer under a foreign name", async () => {
    const own = await serveFolder(at("tiny"), { loopbackOnly: true });
    const { hostname, port } = new URL(own.url);
    expect(await statusLine(Number(port), hostname, "GET /health HTTP/1.1\r\nHost: evil.test\r\n\r\n")).toContain(
      " 421 ",
    );
    expect(await statusLine(Number(port), hostname, "GET /health HTTP/1.1\r\nHost: localhost:1\r\n\r\n")).toContain(
      " 200 ",
    );
    await own.end();
  });

  test("lists its models, also by names", async () => {
    const list = (await (await fetch(`${served.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["tiny"]);
    expect((await fetch(`${served.url}/v1/models/tiny`)).status).toBe(200);
    expect((await fetch(`${served.url}/v1/models/owner/other`)).status).toBe(404);
  });

  test("describes every route that it has", async () => {
    const document = (await (await fetch(`${served.url}/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
    };
    expect(document.openapi).toBe("3.1.0");
    expect(Object.keys(document.paths).sort()).toEqual([
      "/detokenize",
      "/health",
      "/layers",
      "/layers/blocks",
      "/metrics",
      "/tokenize",
      "/tokenizer_info",
      "/v1/chat/completions",
      "/v1/completions",
      "/v1/models",
      "/v1/models/{model}",
    ]);
    expect(Object.keys(document.paths["/v1/completions"]?.post?.responses ?? {})).toContain("429");
  });

  test("finishes what runs when it ends, and takes nothing new", async () => {
    const ending = await serveFolder(at("tiny"));
    const long = { prompt: "a", max_tokens: 100, ignore_eos: true, temperature: 0 };
    const running = await ending.post("/v1/completions", { ...long, stream: true });
    const reader = (running.body as ReadableStream<Uint8Array>).getReader();
    let text = new TextDecoder().decode((await reader.read()).value);
    const ended = ending.close();
    const late = await ending.post("/v1/completions", long).then(
      ({ status }) => status,
      () => "refused",
    );
    expect([503, "refused"]).toContain(late);
    for (let next = await reader.read(); !next.done; next = await reader.read())
      text += new TextDecoder().decode(next.value);
    expect(text).toEndWith("data: [DONE]\n\n");
    await ended;
    ending.generator.dispose();
  });

  test("logs no prompt", async () => {
    await served.complete({ prompt: "mysecret", max_tokens: 2 });
    await served.complete({ prompt: ["mysecret"], max_tokens: -2 });
    expect(served.events.length).toBeGreaterThan(2);
    expect(JSON.stringify(served.events)).not.toContain("mysecret");
    expect(await (await fetch(`${served.url}/metrics`)).text()).not.toContain("mysecret");
  });
});

function statusLine(port: number, host: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(request));
    socket.once("data", (data) => {
      resolve(data.toString().split("\r\n")[0] ?? "");
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
