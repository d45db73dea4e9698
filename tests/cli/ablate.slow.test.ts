// gblr ablate as it is called: one table with the rows of each question, in Markdown and as JSON; called again it repeats
// nothing; errors are one line.

import { beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { saveModelNow } from "../../workbench/models/index.ts";
import { smallVit, VIT } from "../architectures/small-vision.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, makeTinyHub, run } from "../pipeline/tiny-hub.ts";
import { makeTinyImages } from "../pipeline/tiny-images.ts";

const folder = temporaryFolder();
const PATIENCE = 240_000;
let place: { hub: string; work: string };

const QUICK = [
  ...["tiny/gpt2", "--dataset", "tiny/stories", "--context", "32", "--engine", "wasm", "--layers", "h.0.attn.*"],
  ...["--calibration-samples", "4", "--micro-batch", "2", "--limit", "3", "--budget", "0.5", "--out", "ablation"],
];
const ablate = (...args: string[]) => run(GBLR, ["ablate", ...QUICK, ...args], place);

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work") };
  mkdirSync(place.work);
});

const ROWS = [
  "dense",
  "low rank, activation-aware",
  "low rank, activation-aware, global",
  "GBLR, block search, global",
  "low rank, activation-aware, by loss",
  "GBLR, block search, by loss",
  "GBLR, activation-aware",
  "GBLR, block search, σ 20",
  "GBLR, block search, quantum 8",
  "GBLR, block search",
];

describe("all questions", () => {
  const ASKED = ["--quanta", "8", "--sigmas", "20"];
  let table: string;

  beforeAll(async () => {
    const { code, stdout, stderr } = await ablate(...ASKED, "--markdown");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    table = stdout;
  }, PATIENCE);

  test("are one table in Markdown", () => {
    const rows = table.split("\n").filter((line) => line.startsWith("| "));
    expect(rows.slice(2).map((line) => line.split("|")[1]?.trim())).toEqual(ROWS);
    expect(rows[0]).toMatch(/^\| model \| fine-tuning \| perplexity \| linear parameters \|/);
  });

  test(
    "called again convert nothing, and the JSON document says which rows answer which question",
    async () => {
      const written = () => statSync(join(place.work, "ablation/converted/config.json")).mtimeMs;
      const before = written();
      const { code, stdout } = await ablate(...ASKED, "--json");
      expect(code).toBe(0);
      expect(written()).toBe(before);
      const told = JSON.parse(stdout) as { questions: Record<string, string[]>; rows: { name: string }[] };
      expect(told.rows.map(({ name }) => name)).toEqual(ROWS);
      expect(Object.keys(told.questions)).toEqual(["allocation", "widths", "masks", "quantum"]);
      expect(
        Object.values(told.questions)
          .flat()
          .every((title) => ROWS.includes(title)),
      ).toBe(true);
      expect(told.questions.quantum).toEqual(["GBLR, block search", "GBLR, block search, quantum 8"]);
    },
    PATIENCE,
  );
});

test(
  "with steps, each variant has a row before and after its training",
  async () => {
    const flags = ["--questions", "widths", "--steps", "2", "--batch", "4", "--stable-blocks"];
    const { code, stdout, stderr } = await ablate(...flags, "--out", "trained", "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { rows } = JSON.parse(stdout) as { rows: { name: string; stage: string }[] };
    const names = ["GBLR, activation-aware", "GBLR, block search, rate of widths 0, shrink none", "GBLR, block search"];
    expect(rows.slice(1).map(({ name, stage }) => `${name} ${stage}`)).toEqual(
      names.flatMap((name) => [`${name} before`, `${name} after`]),
    );
  },
  PATIENCE,
);

describe("an image classifier", () => {
  const QUESTIONS = ["--questions", "allocation,quantum", "--quanta", "8", "--layers", "blocks.0.*"];
  const SMALL = ["--calibration-samples", "9", "--micro-batch", "9", "--engine", "wasm", "--workers", "0"];
  let images: string;

  beforeAll(async () => {
    images = await makeTinyImages(folder("images"));
    const model = smallVit({ ...VIT, num_classes: 3 });
    await saveModelNow(model, join(place.work, "vit"));
    model.dispose();
  });

  const onImages = (...args: string[]) =>
    run(GBLR, ["ablate", "vit", "--dataset", images, "--hold-out", "0.25", ...SMALL, ...args], place);

  test(
    "has a row with accuracies for each variant",
    async () => {
      const { code, stdout, stderr } = await onImages(...QUESTIONS, "--out", "of-images", "--json");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const told = JSON.parse(stdout) as {
        questions: Record<string, string[]>;
        rows: { name: string; metrics: Record<string, number> }[];
      };
      expect(Object.keys(told.questions)).toEqual(["allocation", "quantum"]);
      const rest = ["GBLR, activation-aware", "GBLR, block search, σ 20"];
      expect(told.rows.map(({ name }) => name)).toEqual(ROWS.filter((name) => !rest.includes(name)));
      for (const { metrics } of told.rows) {
        expect(metrics.top1).toBeWithin(0, 1.0001);
        expect(metrics.loss).toBeGreaterThan(0);
      }
    },
    PATIENCE,
  );

  test("is refused with settings of text", async () => {
    expect(await onImages("--context", "32")).toMatchObject({
      code: 2,
      stderr: "gblr: --context is for language models; vit is a vit\n",
    });
  });
});

test.each([
  [
    "--questions",
    "speed",
    '--questions: unknown question "speed"; give one or more of allocation, widths, masks, quantum',
  ],
  ["--steps", "2", "--steps trains the blocks of a search; add --stable-blocks, or --lora to train adapters"],
  ["--quanta", "8,x", "--quanta 8,x: give numbers above 0, e.g. --quanta 8,16"],
  ["--seeds", "a", "--seeds a: give different whole numbers, e.g. --seeds 0,1,2"],
])("%s %s is refused", async (flag, value, message) => {
  const { code, stderr } = await ablate(flag, value);
  expect({ code, stderr }).toEqual({ code: 2, stderr: `gblr: ${message}\n` });
});
