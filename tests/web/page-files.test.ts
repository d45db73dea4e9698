// The files of a page: which there are, which there are not, and what the browser is told of them.

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { Hono } from "hono";
import { sendError } from "../../workbench/web/api-error.ts";
import { addPage } from "../../workbench/web/page-files.ts";

const app = new Hono();
addPage(app, { title: "A <b>page</b>", folder: "serve" });
app.onError((error, c) => sendError(c, error as never));

const FOLDER = new URL("../../workbench/web/page/", import.meta.url);
const own = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((name) => name.includes("."));

test("the document allows only files of the server and its own import map", async () => {
  const response = await app.request("/");
  const html = await response.text();
  const [, map = ""] = /<script type="importmap">(.*?)<\/script>/s.exec(html) ?? [];
  const hash = createHash("sha256").update(map).digest("base64");
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toStartWith("default-src 'none'; ");
  expect(policy).toContain(`script-src 'self' 'sha256-${hash}'`);
  expect(policy).not.toContain("unsafe");
  expect(policy).not.toContain("http");
  expect(html).toContain("<title>A &lt;b&gt;page&lt;/b&gt;</title>");
  for (const path of Object.values((JSON.parse(map) as { imports: Record<string, string> }).imports)) {
    expect((await app.request(path)).headers.get("content-type")).toBe("text/javascript; charset=utf-8");
  }
});

test.each([...own, "colors.css", "inter-400.ttf", "inter-600.ttf"])("%s has a type, and is sent once", async (name) => {
  const response = await app.request(`/page/${name}`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(
    /^(text\/(javascript|css); charset=utf-8|image\/svg\+xml|font\/ttf)$/,
  );
  const tag = response.headers.get("etag") ?? "";
  expect((await app.request(`/page/${name}`, { headers: { "If-None-Match": tag } })).status).toBe(304);
});

test.each([
  "../page-files.ts",
  "..%2fpage-files.ts",
  "serve/../../page-files.ts",
  "%2e%2e/access.ts",
  "lib/../../access.ts",
  "/etc/passwd",
  "toString",
  "serve",
  "serve/",
  "other.js",
])("%s is no file of the page", async (name) => {
  const response = await app.request(`/page/${name}`);
  expect(response.status).toBe(404);
  expect(await response.text()).not.toContain("import");
});
