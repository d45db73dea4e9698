// A real browser for tests of pages: Chromium, if the machine has one, and what it complains about while a page is open.

import { afterAll, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";

const FOUND = [process.env.GBLR_CHROMIUM, "chromium", "chromium-browser", "google-chrome"]
  .map((name) => (name ? Bun.which(name) : null))
  .find((path) => path !== null);

/** Whether the machine has a browser. */
export const HAS_BROWSER = FOUND !== undefined;
if (!HAS_BROWSER) console.error("pages are not tested in a browser: no chromium is found (GBLR_CHROMIUM)");

/** How readers may see a page. */
export const VIEWS = (["light", "dark"] as const).flatMap((colorScheme) =>
  [1280, 360].map((width) => ({ colorScheme, width })),
);

/** A page that is open. */
export interface OpenPage {
  page: Page;
  /** errors in the console, failed scripts, and requests to other hosts */
  problems: string[];
}

interface View {
  colorScheme?: "light" | "dark";
  width?: number;
}

/** A browser for one test file, closed when its tests are over. @returns opens a page in it */
export function browserPages(): (url: string, view?: View) => Promise<OpenPage> {
  let browser: Promise<Browser> | undefined;
  afterAll(async () => (await browser)?.close());
  return async (url, view) => {
    browser ??= chromium.launch({ executablePath: FOUND as string });
    return openPage(await browser, url, view);
  };
}

async function openPage(
  browser: Browser,
  url: string,
  { colorScheme = "light", width = 1280 }: View = {},
): Promise<OpenPage> {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const problems: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("dialog", (dialog) => {
    problems.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== url) problems.push(`a request to ${request.url()}`);
  });
  await page.goto(`${url}/`);
  return { page, problems };
}

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface AxeResult {
  violations: { id: string; nodes: { html: string; failureSummary: string }[] }[];
  passes: { id: string }[];
}

/** Checks a page by the rules of axe: names, roles, contrast. */
export async function expectAccessible(page: Page): Promise<void> {
  // The page itself may not run other scripts; the debugger may.
  await page.evaluate(AXE);
  const { violations, passes } = (await page.evaluate("axe.run()")) as AxeResult;
  const found = violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`),
  );
  expect(found).toEqual([]);
  expect(passes.map(({ id }) => id)).toContain("color-contrast");
}

/** Waits until an element has a text. */
export async function expectText(element: Locator, pattern: RegExp): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (pattern.test((await element.textContent()) ?? "")) return;
    await Bun.sleep(50);
  }
  expect(await element.textContent()).toMatch(pattern);
}

/** Checks that a page is not wider than its window. */
export async function expectNoSidewaysScrolling(page: Page): Promise<void> {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth] as const);
  expect(content).toBeLessThanOrEqual(window);
}
