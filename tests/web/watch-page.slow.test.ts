// The page of `gblr watch` in a browser: curves that grow while runs write, runs that come later, are resumed or started
// anew, and names that are markup.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { startRun, updateRun } from "../../workbench/report/index.ts";
import type { Metrics } from "../../workbench/train/metrics.ts";
import { MetricsFile } from "../../workbench/train/metrics.ts";
import { serveRuns } from "../../workbench/watch/index.ts";
import type { Listening } from "../../workbench/web/listen.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts, metricLines } from "../report/example-run.ts";
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
const PATIENCE = 120_000;
const HOSTILE = `<img src=x onerror="alert(1)"> & 'run'`;
const LINES = metricLines({ steps: 100, depth: 2, width: 16, blocks: 4 });
let served: Listening;

const textOf = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");
const until = (step: number) => LINES.filter((line) => line.step <= step);
const metricsOf = (name: string) => `${at(name)}/metrics.jsonl`;

beforeAll(async () => {
  for (const [name, steps] of [
    ["first", 60],
    [HOSTILE, 80],
  ] as const) {
    await startRun(at(name), { ...facts(), name: `${name} by name` });
    await writeFile(metricsOf(name), textOf(until(steps)));
  }
  served = await serveRuns({ runs: [at("first"), at(HOSTILE), at("later")], interval: 50 });
});
afterAll(() => served.close());

const chart = (page: Page, title: string) => page.locator("figure", { hasText: title });
/** The values below a chart, for example `latest … 6.7`. */
const values = (page: Page, title: string) => chart(page, title).locator(".values");

const lossAt = (step: number) =>
  String(
    Number((LINES.find((line) => line.kind === "step" && line.step === step) as { loss: number }).loss.toPrecision(4)),
  );

describe.skipIf(!HAS_BROWSER)("the page of gblr watch", () => {
  test(
    "shows several runs over each other, and a new point when a run writes one",
    async () => {
      const { page, problems } = await openPage(served.url);
      await expectText(values(page, "Training loss"), new RegExp(`first ${lossAt(60)}`));
      await expectText(values(page, "Training loss"), new RegExp(`run' ${lossAt(80)}`));
      const loss = chart(page, "Training loss");
      expect(await loss.locator("path.curve:not(.faint)").count()).toBe(2);
      for (const title of ["Perplexity", "Relative FLOPs of the model", "Mean width by layer"]) {
        expect(await chart(page, title).isVisible()).toBe(true);
      }
      const curve = loss.locator("path.series-1.faint");
      const before = (await curve.getAttribute("d")) as string;
      await appendFile(metricsOf("first"), textOf(until(61).slice(until(60).length)));
      await expectText(values(page, "Training loss"), new RegExp(`first ${lossAt(61)}`));
      expect((await curve.getAttribute("d"))?.split("L").length).toBe(before.split("L").length + 1);
      expect(await page.getByText("step 61 of 1000").isVisible()).toBe(true);

      await page.getByRole("checkbox", { name: at("first") }).uncheck();
      await expectText(values(page, "Training loss"), /^(?!.*first)/);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "shows names as text, whatever they are",
    async () => {
      const name = "markup";
      await startRun(at(name), { ...facts(), name: "<script>alert(1)</script>", recipe: "<b>" });
      await updateRun(at(name), { status: "failed", error: "<iframe src=//evil.test>" });
      const evaluation = {
        kind: "evaluation",
        step: 1,
        epoch: 0,
        seconds: 1,
        split: "<u>s</u>",
        values: { "<i>m</i>": 1 },
      };
      const layers = { "<svg onload=alert(1)>": { live: 1, cost: 1, meanWidthIn: 0.1, meanWidthOut: 0.2 } };
      const structure = {
        kind: "structure",
        step: 1,
        epoch: 0,
        seconds: 1,
        layers,
        relativeFlops: { reference: 1, actual: 1 },
      };
      const sample = { kind: "sample", step: 1, epoch: 0, seconds: 1, prompt: "<em>p</em>", text: "<img src=y>\n t" };
      await writeFile(metricsOf(name), textOf([evaluation, structure, sample]));
      const own = await serveRuns({ runs: [at(name), at(HOSTILE)], interval: 50 });
      const { page, problems } = await openPage(own.url);
      await page.getByText("<script>alert(1)</script>").waitFor();
      for (const text of [
        "<iframe src=//evil.test>",
        "<i>m</i>",
        "<u>s</u>",
        at(HOSTILE),
        "<em>p</em>",
        "<img src=y>",
      ]) {
        await page.getByText(text).filter({ visible: true }).first().waitFor();
      }
      expect(await page.locator("text.layer").first().textContent()).toContain("<svg onload=alert(1)>");
      expect(await page.locator("main :is(script, iframe, img, b, i, u, em)").count()).toBe(0);
      expect(problems).toEqual([]);
      await own.close();
    },
    PATIENCE,
  );

  test(
    "shows what the models have written, at any step",
    async () => {
      const sample = (step: number, text: string) => ({
        ...{ kind: "sample", step, epoch: step, seconds: step },
        ...{ prompt: "Once upon", text },
      });
      await startRun(at("writer"), { ...facts(), name: "writer" });
      await writeFile(metricsOf("writer"), textOf([...until(4), sample(0, " a a a"), sample(4, " a time")]));
      const own = await serveRuns({ runs: [at("writer")], interval: 50 });
      const { page, problems } = await openPage(own.url);
      const samples = page.getByRole("region", { name: "Samples" });
      await expectText(samples, /step 4.*Once upon a time/s);
      await samples.getByRole("slider").press("ArrowLeft");
      await expectText(samples, /step 0.*Once upon a a a/s);
      await samples.getByRole("slider").press("ArrowRight");
      await appendFile(metricsOf("writer"), textOf([sample(8, " a dark\nnight")]));
      await expectText(samples, /step 8.*Once upon a dark\nnight/s);
      await expectNoSidewaysScrolling(page);
      await expectAccessible(page);
      if (process.env.GBLR_TEST_PICTURES)
        await page.screenshot({ path: `${process.env.GBLR_TEST_PICTURES}/samples.png`, fullPage: true });
      expect(problems).toEqual([]);
      await own.close();
    },
    PATIENCE,
  );

  test(
    "follows a run that comes later, is resumed from a checkpoint, and is started anew",
    async () => {
      const { page, problems } = await openPage(served.url);
      const run = page.locator(".runs li").nth(2);
      await expectText(run, /not there yet/);
      await mkdir(at("later"));
      const file = await MetricsFile.open(metricsOf("later"), 0);
      let checkpoint = 0;
      for (const line of until(50)) {
        await file.append(line as Metrics);
        if (line.step <= 20) checkpoint = file.length;
      }
      await expectText(run, /step 50/);
      await startRun(at("later"), facts());
      await expectText(run, /running.*step 50 of 1000/);
      await file.close();

      const resumed = await MetricsFile.open(metricsOf("later"), checkpoint);
      await expectText(run, /step 20 of 1000/);
      const repeated = until(40).slice(until(20).length);
      for (const line of repeated) await resumed.append(line.kind === "step" ? { ...line, loss: 4.5 } : line);
      await expectText(run, /step 40 of 1000/);
      await expectText(values(page, "Training loss"), /later 4\.5/);
      await resumed.close();

      await writeFile(metricsOf("later"), textOf(until(3)));
      await expectText(run, /step 3 of 1000/);
      await expectText(values(page, "Training loss"), new RegExp(`later ${lossAt(3)}`));
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "goes on after the server was away",
    async () => {
      const { port } = new URL(served.url);
      const own = await serveRuns({ runs: [at("first")], interval: 50 });
      const { page } = await openPage(own.url);
      await expectText(values(page, "Training loss"), /first/);
      await own.close();
      await expectText(page.getByRole("alert"), /lost|does not answer/);
      const again = await serveRuns({ runs: [at(HOSTILE)], port: Number(new URL(own.url).port), interval: 50 });
      expect(new URL(again.url).port).not.toBe(port);
      await expectText(values(page, "Training loss"), /'run'/);
      expect(await page.getByRole("alert").count()).toBe(0);
      await again.close();
    },
    PATIENCE,
  );

  test(
    "zooms all charts by dragging, by keys and by buttons, and reads values at the cursor",
    async () => {
      const { page, problems } = await openPage(served.url);
      await expectText(values(page, "Training loss"), /run'/);
      const frame = chart(page, "Training loss").locator(".frame");
      const labels = (title: string) => chart(page, title).locator(".axes > text").allTextContents();
      const whole = await labels("Perplexity");
      const box = (await frame.boundingBox()) as { x: number; y: number; width: number };
      await page.mouse.move(box.x + box.width * 0.4, box.y + 80);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * 0.6, box.y + 80);
      await page.mouse.up();
      expect(await labels("Perplexity")).not.toEqual(whole);
      expect(await labels("Perplexity")).toEqual(await labels("Training loss"));
      await page.getByRole("button", { name: "Whole runs" }).click();
      expect(await labels("Perplexity")).toEqual(whole);

      await page.mouse.move(0, 0);
      await frame.focus();
      await page.keyboard.press("Home");
      await expectText(values(page, "Training loss"), new RegExp(`^step 1 .*first ${lossAt(1)}.*run' ${lossAt(1)}`));
      await page.keyboard.press("ArrowRight");
      await expectText(values(page, "Training loss"), new RegExp(`^step 2 .*first ${lossAt(2)}`));
      await page.keyboard.press("+");
      expect(await labels("Perplexity")).not.toEqual(whole);
      await page.keyboard.press("0");
      expect(await labels("Perplexity")).toEqual(whole);

      await page.getByLabel("logarithmic values").check();
      await page.getByLabel("x axis").selectOption("seconds");
      await expectText(values(page, "Perplexity"), /^latest/);
      await page.getByLabel("Step", { exact: true }).fill("0");
      await expectText(chart(page, "Mean width by layer"), /step 5Step/);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test.each(VIEWS)(
    "can be read by everybody, $colorScheme, $width px wide",
    async (view) => {
      const { page, problems } = await openPage(served.url, view);
      await expectText(values(page, "Training loss"), /run'/);
      await expectAccessible(page);
      await expectNoSidewaysScrolling(page);
      expect(problems).toEqual([]);
    },
    PATIENCE,
  );

  test(
    "asks for the key of the server",
    async () => {
      const guarded = await serveRuns({ runs: [at("first")], key: "secret", interval: 50 });
      const { page } = await openPage(guarded.url);
      await page.getByLabel("Key of this server").fill("secret");
      await page.getByRole("button", { name: "Continue" }).click();
      await expectText(values(page, "Training loss"), /first/);
      expect(await page.getByLabel("Key of this server").count()).toBe(0);
      await guarded.close();
    },
    PATIENCE,
  );
});
