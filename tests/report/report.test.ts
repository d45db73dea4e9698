// The report of a run as a document: whole, self-contained, safe with any name, right in its numbers, at every stage of
// a run. No browser is needed: the markup is read here.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import process from "node:process";
import fc from "fast-check";
import {
  type ComparisonRow,
  startRun,
  updateRun,
  writeClassification,
  writeComparison,
  writeReport,
} from "../../workbench/report/index.ts";
import { comparisonSentence, comparisonTable } from "../../workbench/report/page/comparison.ts";
import { html, table } from "../../workbench/report/page/html.ts";
import { gapTable } from "../../workbench/report/page/tables.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts, metricLines, row, SMALL, writeExampleRun, writeModelFolder } from "./example-run.ts";

const at = temporaryFolder();
const HOSTILE = `"><img src=x onerror=alert(1)></title></style><script>alert('x')</script>&amp;\u0007`;

/** Every element is closed, in its order. @returns names of the elements in order */
function elementsOf(page: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  const text = page.replace(/<style>[\s\S]*?<\/style>/g, "").replace("<!doctype html>", "");
  expect(text.replace(/<\/?[a-z][^<>]*>/gi, "")).not.toMatch(/[<>]/);
  for (const [, slash, name, rest] of text.matchAll(/<(\/?)([a-z][\w:-]*)((?:"[^"]*"|[^"<>])*)>/gi)) {
    if (slash === "/") expect(open.pop()).toBe(name);
    else {
      names.push(name as string);
      if (!["meta", "img"].includes(name as string) && !rest?.endsWith("/")) open.push(name as string);
    }
  }
  expect(open).toEqual([]);
  return names;
}

async function reportOf(folder: string): Promise<string> {
  await writeReport(folder);
  return readFileSync(`${folder}/report.html`, "utf8");
}

const cells = (page: string): string[] =>
  [...page.matchAll(/<t[dh][^>]*>([\s\S]*?)<\/t[dh]>/g)].map(([, cell]) => (cell as string).replace(/<[^>]+>/g, ""));

test("the report of a finished run has all its parts, fetches nothing and runs nothing", async () => {
  await writeExampleRun(at("whole"));
  const page = await reportOf(at("whole"));
  const elements = elementsOf(page);
  expect(page).not.toMatch(/<script|<link|<iframe|@import|src="(?!data:)|url\((?!#)|http-equiv/i);
  expect([...page.matchAll(/https?:\/\/[^"\s<]+/g)].every(([url]) => url.startsWith("http://www.w3.org/"))).toBe(true);
  expect(page).not.toMatch(/undefined|NaN|\[object/);
  const headings = [...page.matchAll(/<h2 id="(\w+)">/g)].map(([, id]) => id);
  expect(headings).toEqual(["comparison", "training", "structure", "layout", "layers", "facts", "environment"]);
  for (const id of headings) expect(page).toContain(`aria-labelledby="${id}"`);
  expect(elements.filter((name) => name === "svg")).toHaveLength(10); // 7 curves, 2 of widths, the block layout
  const ids = [...page.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(page).toContain('<span class="status finished">finished</span>');
  expect(page.replace(/<[^>]+>/g, "")).toContain("bun run recipes/gpt2-wt103.ts --model gblr/gpt2-mini");
  expect(cells(page)).toEqual(
    expect.arrayContaining(["h.1.mlp.c_proj", "24 of 32", "31.0 %", "learning-rate", "0.0015"]),
  );
});

test("the page asks to be loaded again only while its run goes on", async () => {
  const folder = at("running");
  await startRun(folder, facts());
  const running = await reportOf(folder);
  expect(running).toMatch(/<meta http-equiv="refresh" content="\d+">/);
  expect(running).toMatch(
    /status running">running<\/span> <span class="soft">updated \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/,
  );
  for (const status of ["finished", "interrupted", "failed"] as const) {
    await updateRun(folder, { status });
    expect(await reportOf(folder)).not.toContain("http-equiv");
  }
});

test("a report has the last texts that the model has written, as text", async () => {
  const folder = at("samples");
  await startRun(folder, facts());
  const lines = Array.from({ length: 14 }, (_, step) => {
    return { kind: "sample", step, epoch: 0, seconds: step, prompt: "<b>Once", text: ` upon a ${step}th time</b>` };
  });
  writeFileSync(`${folder}/metrics.jsonl`, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const page = await reportOf(folder);
  elementsOf(page);
  expect(page).toContain("the last 10 of 14");
  expect(cells(page)).toEqual(expect.arrayContaining(["13", "&lt;b&gt;Once", " upon a 13th time&lt;/b&gt;"]));
  expect(page).not.toContain(" upon a 3th time");
});

test("a run that has only begun says what is not there yet", async () => {
  await startRun(at("begun"), { ...facts(), task: "image-classification" });
  const page = await reportOf(at("begun"));
  elementsOf(page);
  for (const said of [
    "No model has been measured yet",
    "No step has been trained yet",
    "There is no model yet",
    "no classification.json",
  ]) {
    expect(page).toContain(said);
  }
});

test("a section without content is left out once the run has ended", async () => {
  const folder = at("evaluated");
  await startRun(folder, { ...facts(), task: "image-classification" });
  await writeClassification(folder, { classes: ["a", "b"], splits: { test: { accuracy: 0.5 } } });
  await updateRun(folder, { status: "finished" });
  const ids = [...(await reportOf(folder)).matchAll(/<h2 id="(\w+)">/g)].map(([, id]) => id);
  expect(ids).toEqual(["classes", "facts", "environment"]);
});

test("a report is written at every moment of a run, whatever files are missing", async () => {
  const files = ["run.json", "metrics.jsonl", "comparison.json", "conversion.json", "model/model.safetensors", "model"];
  for (const missing of files) {
    const folder = at(`without-${missing.replace("/", "-")}`);
    await writeExampleRun(folder);
    rmSync(`${folder}/${missing}`, { recursive: true });
    const page = await reportOf(folder);
    elementsOf(page);
    expect(page).toContain("<h2");
  }
  expect(readFileSync(at("without-run.json", "report.html"), "utf8")).toContain("There is no run.json");
  const half = readFileSync(at("without-model-model.safetensors", "report.html"), "utf8");
  expect(half).toContain("The model cannot be read: ");
});

test("names and values of any kind stay text", async () => {
  const folder = at("hostile");
  await startRun(folder, { ...facts({ [HOSTILE]: HOSTILE }), name: HOSTILE, command: HOSTILE, device: HOSTILE });
  await updateRun(folder, { status: "failed", error: HOSTILE });
  await writeComparison(folder, [{ ...row("dense", "before", 3), note: HOSTILE }, row(HOSTILE, "after", 4)]);
  await writeClassification(folder, {
    classes: [HOSTILE, "b"],
    splits: { [HOSTILE]: { [HOSTILE]: 1 } },
    confusion: [
      [1, 2],
      [3, 4],
    ],
  });
  const lines = metricLines({ ...SMALL, steps: 40 }).map((line) => {
    if (line.kind === "evaluation") return { ...line, split: HOSTILE, values: { [HOSTILE]: 2 } };
    return line.kind === "structure" ? { ...line, layers: { [HOSTILE]: Object.values(line.layers)[0] } } : line;
  });
  writeFileSync(`${folder}/metrics.jsonl`, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  mkdirSync(`${folder}/model`);
  writeFileSync(`${folder}/model/config.json`, HOSTILE);
  const page = await reportOf(folder);
  const elements = elementsOf(page);
  expect(elements).not.toContain("script");
  expect(elements).not.toContain("img");
  expect(page).not.toContain("\u0007");
  expect(page).toContain("&lt;script&gt;");
});

test("templates escape every value that is no template", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const { text: markup } = html`<p title="${text}">${text}${[text, html`<b>${text}</b>`]}</p>`;
      expect(elementsOf(markup)).toEqual(["p", "b"]);
    }),
  );
  expect(table([], { caption: "none", columns: [] }).text).toContain("<caption>none</caption>");
});

test("the best compressed model is marked in each metric, whichever way is better, never the dense one", () => {
  const rows: ComparisonRow[] = [
    { ...row("dense", "before", 10), metrics: { perplexity: 10, top1: 0.9, other: 1 } },
    { ...row("lowrank", "after", 12), metrics: { perplexity: 12, top1: 0.7, other: 3 } },
    { ...row("gblr", "after", 11), metrics: { perplexity: 11, top1: 0.6, other: 2 } },
  ];
  const { text } = comparisonTable(rows);
  const best = [...text.matchAll(/<strong[^>]*>([^<]*)<\/strong>/g)].map(([, value]) => value);
  expect(best.sort()).toEqual(["11.00", "70.00 %"]);
  expect(text).toContain("perplexity ↓");
  expect(text).toContain("top-1 accuracy ↑");
  expect(comparisonSentence(rows)?.replaceAll("\u00a0", " ")).toBe(
    "Best of the compressed models: gblr, perplexity 11.00 after fine-tuning at 43.75 % of the dense FLOPs; the dense model has 10.00.",
  );
  expect(comparisonSentence(rows.slice(0, 1))).toBeUndefined();
  const alike = { ...row("dense", "after", 9), metrics: { perplexity: 9 } };
  expect(comparisonSentence([...rows, alike])).toMatch(/; the dense model, trained alike, has 9\.00\.$/);
});

test("a command breaks between its words, not after the hyphens of a flag", async () => {
  await startRun(at("command"), { ...facts({}), command: "gblr finetune --micro-batch 4" });
  const page = await reportOf(at("command"));
  expect([...page.matchAll(/<span class="word">([^<]*)<\/span>/g)].map(([, word]) => word)).toEqual([
    "gblr ",
    "finetune ",
    "--micro-batch ",
    "4",
  ]);
});

test("columns that no row fills are left out", () => {
  const { text } = comparisonTable([{ name: "a", structure: "gblr", stage: "after", metrics: { perplexity: 2 } }]);
  expect(cells(text)).toEqual(["model", "fine-tuning", "perplexity ↓", "a", "after", "2.00"]);
});

test("the gap between the splits is told with its sign", () => {
  const splits = { train: { loss: 0.41, accuracy: 0.912 }, validation: { loss: 0.522, accuracy: 0.871 } };
  expect(cells(gapTable({ splits }).text).slice(4)).toEqual([
    ...["accuracy", "91.20 %", "87.10 %", "−4.10 points"],
    ...["loss", "0.4100", "0.5220", "+0.1120"],
  ]);
});

test("classes are a square while it is legible, then a list of mistakes", async () => {
  const folder = at("classes");
  await startRun(folder, { ...facts(), task: "image-classification" });
  for (const count of [3, 40]) {
    const classes = Array.from({ length: count }, (_, i) => `class ${i}`);
    const confusion = classes.map((_, i) => classes.map((_, j) => (i === j ? 90 : (i + j) % 4)));
    await writeClassification(folder, { classes, splits: {}, confusion });
    const page = await reportOf(folder);
    expect(page.includes("Confusion matrix")).toBe(count === 3);
    expect(page.includes("Most frequent confusions")).toBe(count === 40);
  }
});

test("a picture stands in where the model cannot be drawn", async () => {
  const folder = at("picture");
  await startRun(folder, facts());
  writeFileSync(`${folder}/structure.png`, Uint8Array.from([1, 2, 3]));
  expect(await reportOf(folder)).toContain('src="data:image/png;base64,AQID"');
  await writeModelFolder(`${folder}/model`, SMALL);
  expect(await reportOf(folder)).not.toContain("AQID");
});

test("a hundred thousand steps make a small page in seconds", async () => {
  const folder = at("long");
  await writeExampleRun(folder, { ...SMALL, steps: 100_000, depth: 12 });
  await writeReport(at("whole")); // what is loaded once is not counted
  const before = process.cpuUsage();
  const page = await reportOf(folder);
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1e6).toBeLessThan(4); // of processor time, as other tests may run beside
  expect(statSync(`${folder}/report.html`).size).toBeLessThan(2e6);
  elementsOf(page);
});
