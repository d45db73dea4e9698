// The page of `gblr serve` in a browser, as a person uses it: with the mouse, with the keyboard alone, and with names that
// are markup.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Locator, Page } from "playwright-core";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { type Blocks, blocksAt, heat } from "../../workbench/web/page/serve/layout-raster.js";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { type Serving, serveFolders } from "../serve/serving.ts";
import {
  browserPages,
  expectAccessible,
  expectNoSidewaysScrolling,
  expectText,
  HAS_BROWSER,
  VIEWS,
} from "./browser.ts";

const at = temporaryFolder();
const openPage = browserPages();
const HOSTILE = `<img src=x onerror="alert(1)">/'gblr'`;
const LAYER = "h.1.mlp.c_fc";
const PATIENCE = 120_000;
let served: Serving;

beforeAll(async () => {
  if (!HAS_BROWSER) return;
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("dense"), { positions: 512 });
  await writeChatModel(at("gblr"), { positions: 512, blocks: ["h.0.attn.c_attn", LAYER] });
  served = await serveFolders({ dense: at("dense"), [HOSTILE]: at("gblr") });
}, PATIENCE);
afterAll(() => served?.end());

const columns = (page: Page) => page.locator("section.column");
const isDone = (page: Page) =>
  page.waitForFunction(() => {
    const facts = [...document.querySelectorAll(".column .facts")];
    return facts.length > 0 && facts.every(({ textContent }) => textContent?.startsWith("finished"));
  });

async function ask(page: Page, prompt: string, tokens: number): Promise<void> {
  await page.getByLabel("Prompt", { exact: true }).fill(prompt);
  await page.getByLabel("text to continue").check();
  await page.getByLabel("tokens", { exact: true }).fill(String(tokens));
  await page.getByRole("button", { name: "Generate" }).click();
}

/** The text of a column as a reader sees it. */
const textOf = (page: Page, column: number) =>
  columns(page)
    .nth(column)
    .locator(".token:not(.end)")
    .evaluateAll((tokens) => tokens.map(({ textContent }) => textContent).join(""));

describe.skipIf(!HAS_BROWSER)("the page of gblr serve", () => {
  test(
    "shows the answers of two models beside each other, with the probability of each token",
    async () => {
      const { page, problems } = await openPage(served.url);
      await ask(page, "the tower is", 24);
      await isDone(page);
      expect(await columns(page).count()).toBe(2);
      for (const [i, model] of ["dense", HOSTILE].entries()) {
        const column = columns(page).nth(i);
        expect(await column.getByRole("heading").textContent()).toBe(model);
        const answer = await served.complete({
          model,
          prompt: "the tower is",
          temperature: 0,
          max_tokens: 24,
          logprobs: 5,
        });
        const { text = "", logprobs } = answer.choices[0] ?? {};
        expect(await textOf(page, i)).toBe(text);
        expect(await column.getByRole("log").textContent()).toStartWith(text);
        const facts = (await column.locator(".facts").textContent()) as string;
        expect(facts).toMatch(/ · 24 tokens · [\d.]+ tokens\/s · first after [\d.]+ s · perplexity [\d.]+$/);

        await column.locator(".token").nth(3).hover();
        const looked = column.locator(".looked");
        const probability = Math.exp(logprobs?.token_logprobs[3] as number);
        expect(await looked.locator("strong").textContent()).toBe(`${(100 * probability).toFixed(1)} %`);
        const likeliest = Object.entries(logprobs?.top_logprobs[3] ?? {}).sort(([, a], [, b]) => b - a);
        expect(await looked.locator("li").count()).toBe(likeliest.length);
        expect(await looked.locator("li code").first().textContent()).toBe(likeliest[0]?.[0] as string);
      }
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "shows tokens while they come, and stops",
    async () => {
      const { page, problems } = await openPage(served.url);
      await ask(page, "a", 480);
      await page.waitForFunction(() =>
        [...document.querySelectorAll(".column")].every(
          (column) =>
            column.querySelector(".facts")?.textContent?.startsWith("writes") &&
            column.querySelectorAll(".token").length > 5,
        ),
      );
      const early = (await textOf(page, 0)).length;
      await page.waitForFunction((before) => document.querySelectorAll(".column .token").length > before, early + 20);
      await page.getByRole("button", { name: "Stop" }).click();
      await page.waitForFunction(() =>
        [...document.querySelectorAll(".column .facts")].every(({ textContent }) => textContent?.startsWith("stopped")),
      );
      expect((await textOf(page, 0)).length).toBeLessThan(480);
      expect(await page.getByRole("button", { name: "Generate" }).isEnabled()).toBe(true);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "answers chats, shows the models that are chosen, and tells what the server refuses",
    async () => {
      const { page, problems } = await openPage(served.url);
      await page.getByRole("checkbox", { name: "dense" }).uncheck();
      expect(await columns(page).count()).toBe(1);
      await page.getByLabel("chat", { exact: true }).check();
      await page.getByLabel("tokens", { exact: true }).fill("8");
      await page.getByLabel("Prompt", { exact: true }).fill("hello");
      await page.getByRole("button", { name: "Generate" }).click();
      await isDone(page);
      const body = { model: HOSTILE, messages: [{ role: "user", content: "hello" }], temperature: 0, max_tokens: 8 };
      const answer = (await (await served.post("/v1/chat/completions", body)).json()) as {
        choices: { message: { content: string } }[];
      };
      expect(await textOf(page, 0)).toBe(answer.choices[0]?.message.content as string);
      expect(problems).toEqual([]);

      await ask(page, "hello", 4000);
      const told = await columns(page).nth(0).getByRole("alert").textContent();
      expect(told).toStartWith(`${HOSTILE} takes 512 tokens in total; the prompt has 6 tokens`);
      expect(await page.locator("main img").count()).toBe(0);
    },
    PATIENCE,
  );

  test(
    "zooms into the block layout of a layer",
    async () => {
      const { page, problems } = await openPage(served.url);
      await page.getByRole("button", { name: `Zoom into ${LAYER}` }).click();
      const dialog = page.getByRole("dialog", { name: LAYER });
      const part = dialog.getByRole("status");
      expect(await part.textContent()).toBe("in 0 to 16 of 16, out 0 to 64 of 64");
      const query = new URLSearchParams({ model: HOSTILE, layer: LAYER });
      const blocks = (await (await fetch(`${served.url}/layers/blocks?${query}`)).json()) as Blocks;
      const { palette } = (await (await fetch(`${served.url}/layers?${query}`)).json()) as { palette: string[] };
      const entries = Array.from({ length: 16 * 64 }, (_, i) => ({ column: i % 16, row: Math.floor(i / 16) }));
      const counts = entries.map(({ column, row }) => blocksAt(blocks, column, row));
      const range = { least: Math.min(...counts), most: Math.max(...counts) };
      const colorOf = (count: number) => palette[Math.round(heat(count, range) * 255)] as string;
      // The middle of each entry, where the whole matrix is shown.
      const whole = await colorsAt(
        dialog.locator("canvas"),
        entries.map(({ column, row }) => [(column + 0.5) / 16, (row + 0.5) / 64]),
      );
      expect(whole).toEqual(counts.map(colorOf));
      expect(new Set(whole).size).toBeGreaterThan(2);

      for (let i = 0; i < 2; i++) await dialog.getByRole("button", { name: "Zoom in" }).click();
      expect(await part.textContent()).toBe("in 6 to 10 of 16, out 24 to 40 of 64");
      const inside = entries.filter(({ column, row }) => column >= 6 && column < 10 && row >= 24 && row < 40);
      const near = await colorsAt(
        dialog.locator("canvas"),
        inside.map(({ column, row }) => [(column - 5.5) / 4, (row - 23.5) / 16]),
      );
      expect(near).toEqual(inside.map(({ column, row }) => colorOf(blocksAt(blocks, column, row))));

      for (let i = 0; i < 9; i++) await dialog.getByRole("button", { name: "Zoom in" }).click();
      expect(await part.textContent()).toBe("in 7 to 9 of 16, out 30 to 34 of 64");

      await dialog.locator("canvas").hover();
      await page.mouse.wheel(0, 600);
      await expectText(part, /^(?!in 7 to 9)/);
      await dialog.getByRole("button", { name: "Previous layer" }).click();
      expect(await page.getByRole("dialog", { name: "h.0.attn.c_attn" }).isVisible()).toBe(true);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "works with the keyboard alone",
    async () => {
      const { page, problems } = await openPage(served.url);
      await page.getByLabel("Prompt", { exact: true }).waitFor();
      const press = (key: string) => page.keyboard.press(key);
      /** Presses Tab until an element has the focus, which must be visible. */
      const tabTo = async (selector: string) => {
        for (let i = 0; i < 60; i++) {
          await press("Tab");
          const outline = await page.evaluate((wanted) => {
            const focused = document.activeElement;
            return focused?.matches(wanted) ? getComputedStyle(focused).outlineStyle : undefined;
          }, selector);
          if (outline === undefined) continue;
          expect(outline).not.toBe("none");
          return;
        }
        throw new Error(`Tab does not reach ${selector}`);
      };
      await tabTo("#prompt");
      await page.keyboard.type("the sun");
      await press("Control+Enter");
      await isDone(page);
      await tabTo(".tokens");
      await press("ArrowRight");
      await press("ArrowRight");
      const active = await page.evaluate(() => {
        const id = document.activeElement?.getAttribute("aria-activedescendant") ?? "";
        const option = document.getElementById(id);
        return { selected: option?.getAttribute("aria-selected"), label: option?.getAttribute("aria-label") };
      });
      expect(active).toEqual({ selected: "true", label: expect.stringMatching(/^\S.* \d+ %$/) });
      expect(await columns(page).nth(0).locator(".looked strong").textContent()).toMatch(/ %$/);

      await tabTo("button.layout");
      await press("Enter");
      await page.getByRole("dialog").waitFor();
      await page.getByRole("dialog").locator("canvas").waitFor();
      await tabTo("dialog canvas");
      await press("+");
      await press("ArrowRight");
      await expectText(page.getByRole("dialog").getByRole("status"), /^in 5 to 14 of 16/);
      await press("0");
      await expectText(page.getByRole("dialog").getByRole("status"), /^in 0 to 16 of 16/);
      await press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      expect(await page.evaluate(() => document.activeElement?.className)).toBe("layout");
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test.each(VIEWS)(
    "can be read by everybody, $colorScheme, $width px wide",
    async (view) => {
      const { page, problems } = await openPage(served.url, view);
      await ask(page, "the tower is", 60);
      await isDone(page);
      await columns(page).nth(0).locator(".token").nth(3).hover();
      await page.getByText("All layers as a table").click();
      await expectAccessible(page);
      await expectNoSidewaysScrolling(page);
      await page.getByRole("button", { name: `Zoom into ${LAYER}` }).click();
      await page.getByRole("dialog").locator("canvas").waitFor();
      await expectAccessible(page);
      await expectNoSidewaysScrolling(page);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "asks for the key of the server",
    async () => {
      const guarded = await serveFolders({ dense: at("dense") }, { key: "secret" });
      const { page, problems } = await openPage(guarded.url);
      const field = page.getByLabel("Key of this server");
      await field.fill("wrong");
      await field.press("Enter");
      expect(await page.getByRole("alert").textContent()).toBe("The server refused this key.");
      await expectAccessible(page);
      await field.fill("secret");
      await field.press("Enter");
      await ask(page, "a", 5);
      await isDone(page);
      expect(await columns(page).count()).toBe(1);
      // The browser reports the answers without the right key.
      expect(problems.filter((problem) => !problem.includes("status of 401"))).toEqual([]);
      await guarded.end();
    },
    PATIENCE,
  );
});

/** Colors of a canvas. @param places shares of its sides */
function colorsAt(canvas: Locator, places: readonly (readonly [number, number])[]): Promise<string[]> {
  return canvas.evaluate((element, places) => {
    const { width, height } = element as HTMLCanvasElement;
    const context = (element as HTMLCanvasElement).getContext("2d") as CanvasRenderingContext2D;
    const { data } = context.getImageData(0, 0, width, height);
    return places.map(([x, y]) => {
      const at = 4 * (Math.floor(y * height) * width + Math.floor(x * width));
      return `#${[...data.slice(at, at + 3)].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
    });
  }, places);
}
