// The files of a page: its document, the modules and styles in page/, and from npm packages the library and the fonts.
// The browser runs the modules as they are. The page loads nothing from elsewhere, and its policy forbids that.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Context, Hono } from "hono";
import { etag } from "hono/etag";
import { html, raw } from "hono/html";
import { COLOR_VARIABLES } from "../report/page/style.ts";
import { ApiError } from "./api-error.ts";

/** What differs between pages. */
export interface PageFacts {
  title: string;
  /** folder below page/ with the module that makes the page, main.js, and with its style */
  folder: string;
}

const FOLDER = fileURLToPath(new URL("./page/", import.meta.url));
const OWN_FILE = /^(?:[a-z]+\/)?[a-z-]+\.(?:js|css|svg)$/;

const { resolve } = createRequire(import.meta.url);

/** Files of npm packages, by their names in the page. */
const PACKAGE_FILES: Readonly<Record<string, () => string>> = {
  "lib/preact.js": () => resolve("preact"),
  "lib/preact-hooks.js": () => resolve("preact/hooks"),
  // `resolve` finds the entry for CommonJS, beside which the module is.
  "lib/htm.js": () => join(dirname(resolve("htm")), "htm.module.js"),
  "inter-400.ttf": () => resolve("@expo-google-fonts/inter/400Regular/Inter_400Regular.ttf"),
  "inter-600.ttf": () => resolve("@expo-google-fonts/inter/600SemiBold/Inter_600SemiBold.ttf"),
};

/** Where the browser finds the packages that modules import by name. */
const IMPORT_MAP = JSON.stringify({
  imports: { preact: "/page/lib/preact.js", "preact/hooks": "/page/lib/preact-hooks.js", htm: "/page/lib/htm.js" },
});

const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  ttf: "font/ttf",
};

/** Only files of this server, no markup or scripts from texts, no frames, and no forms that leave the page. */
const POLICY = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${createHash("sha256").update(IMPORT_MAP).digest("base64")}'`,
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

/** Whether a path is one of the files of a page, which anybody may load. */
export const isPageFile = (path: string): boolean => path === "/" || path.startsWith("/page/");

/** Adds the document of the page at `/`, and its files below `/page/`. */
// biome-ignore lint/suspicious/noExplicitAny: applications have variables of their own
export function addPage(app: Hono<any>, facts: PageFacts): void {
  app.get("/", (c) =>
    c.html(documentOf(facts), 200, { "Content-Security-Policy": POLICY, "Cache-Control": "no-cache" }),
  );
  app.get("/page/:name{.+}", etag(), (c) => sendFile(c, c.req.param("name")));
}

async function sendFile(c: Context, name: string): Promise<Response> {
  const content = await contentOf(name).catch(() => undefined);
  if (content === undefined) throw new ApiError(404, "the page has no such file");
  const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] as string;
  return c.body(content, 200, { "Content-Type": type, "Cache-Control": "no-cache" });
}

async function contentOf(name: string): Promise<string | Uint8Array<ArrayBuffer> | undefined> {
  if (name === "colors.css") return COLOR_VARIABLES;
  if (Object.hasOwn(PACKAGE_FILES, name)) return readFile((PACKAGE_FILES[name] as () => string)());
  return OWN_FILE.test(name) ? readFile(join(FOLDER, name)) : undefined;
}

const documentOf = ({ title, folder }: PageFacts) => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="/page/icon.svg">
<link rel="stylesheet" href="/page/colors.css">
<link rel="stylesheet" href="/page/style.css">
<link rel="stylesheet" href="/page/${folder}/style.css">
<script type="importmap">${raw(IMPORT_MAP)}</script>
<script type="module" src="/page/${folder}/main.js"></script>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
</body>
</html>
`;
