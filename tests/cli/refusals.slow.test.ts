// What cannot be meant or cannot be had, by `gblr eval ppl`, `gblr finetune` and the recipes as processes: one line, exit
// code 2 for usage and 1 for the rest, and nothing left behind.

import { beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { GBLR, makeTinyHub, QUICK, RECIPE, run } from "../pipeline/tiny-hub.ts";

const folder = temporaryFolder();
const PATIENCE = 120_000;
let place: { hub: string; work: string };

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  place = { hub: await makeTinyHub(folder("hub")), work: folder("work") };
  mkdirSync(place.work);
  const other = join(place.hub, "models/tiny/bert");
  mkdirSync(other, { recursive: true });
  writeFileSync(join(other, "config.json"), JSON.stringify({ model_type: "bert", hidden_size: 8 }));
  writeFileSync(join(other, "model.safetensors"), "");
}, PATIENCE);

interface Case {
  args: string[];
  code: 1 | 2;
  /** after the program's name */
  line: RegExp;
}

/** The last of two equal flags counts. */
const CASES: Record<string, Case> = {
  "a model that is not there": { args: ["--model", "tiny/nope"], code: 1, line: /has no model "tiny\/nope"/ },
  "a revision that is not there": {
    args: ["--model", "tiny/gpt2@v9"],
    code: 1,
    line: /^tiny\/gpt2 has no revision "v9"/,
  },
  "a folder that is not there": { args: ["--model", "./nope"], code: 1, line: /^there is no folder "\.\/nope"/ },
  "a data set that is not there": { args: ["--dataset", "tiny/nope"], code: 1, line: /has no dataset "tiny\/nope"/ },
  "a split that is not there": {
    args: ["--test-split", "holdout"],
    code: 1,
    line: /^tiny\/stories: has no split "holdout"/,
  },
  "a configuration that is not there": {
    args: ["--config", "nope"],
    code: 1,
    line: /^tiny\/stories: [^\n]*configuration "nope"/,
  },
  "a model that is no GPT-2": { args: ["--model", "tiny/bert"], code: 1, line: /bert/ },
  "windows longer than the positions": {
    args: ["--context", "64"],
    code: 2,
    line: /^--context 64 is longer than the model's 32 positions; give at most 32$/,
  },
  "adapters of no rank": { args: ["--lora", "0"], code: 2, line: /^--lora 0: expected number to be >=1$/ },
  "adapters of no layer": {
    args: ["--lora", "4", "--lora-layers", "h.7"],
    code: 1,
    line: /^no layer of gpt2 has "h\.7" in its name; layers: h\.0/,
  },
  "a budget of nothing": { args: ["--budget", "0"], code: 2, line: /^--budget 0: expected number to be >0$/ },
  "a budget of more than all": {
    args: ["--budget", "1.5"],
    code: 2,
    line: /^--budget 1.5: expected number to be <=1$/,
  },
  "a budget that is no number": { args: ["--budget", "half"], code: 2, line: /^--budget [^\n]*expected number/ },
  "two budgets": {
    args: ["--budget", "0.5", "--flops", "0.5"],
    code: 2,
    line: /^--budget and --flops contradict each other; choose one$/,
  },
  "a start without the rule for it": {
    args: ["--start-cost", "0.8"],
    code: 2,
    line: /^--start-cost needs --shrink budget$/,
  },
  "a start below the end": {
    args: ["--budget", "0.5", "--start-cost", "0.4", "--shrink", "budget"],
    code: 2,
    line: /^--start-cost 0.4 is below --budget 0.5; give at least the budget$/,
  },
  "a soft rule without a threshold": {
    args: ["--shrink", "soft"],
    code: 2,
    line: /^--shrink soft needs --threshold$/,
  },
  "what only some rules have": {
    args: ["--approach", "2", "--start-threshold", "0.1", "--freeze"],
    code: 2,
    line: /^--approach needs --shrink targeted or adaptive; --start-threshold needs --shrink adaptive; --freeze needs/,
  },
  "a rival that is not known": {
    args: ["--compare", "quantized"],
    code: 2,
    line: /^there is no structure "quantized"; give one of gblr, /,
  },
  "a rival twice": { args: ["--compare", "gblr"], code: 2, line: /^GBLR, SVD would be compared with itself/ },
  "a pattern that no layer has": { args: ["--layers", "encoder.*"], code: 1, line: /encoder\.\*/ },
  "a flag that is not known": { args: ["--bugdet", "0.5"], code: 2, line: /unknown option '--bugdet'/ },
  "a repository that can be no name": { args: ["--push", "me/a/b"], code: 2, line: /^--push / },
  "a push without a Hub": { args: ["--push", "me/a", "--offline"], code: 2, line: /^--push and --offline contradict/ },
  "an engine that is not known": { args: ["--engine", "abacus"], code: 2, line: /abacus/ },
};

const oneLine = (name: string, line: RegExp) => ({
  test(stderr: string) {
    expect(stderr).toMatch(new RegExp(`^${name}: [^\\n]+\\n$`));
    expect(stderr.slice(name.length + 2, -1)).toMatch(line);
  },
});

describe("a recipe refuses", () => {
  for (const [what, { args, code, line }] of Object.entries(CASES)) {
    test(
      `${what}, and begins no run`,
      async () => {
        const ended = await run(RECIPE, [...QUICK, "--run", "refused", "--json", ...args], place);
        expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: "" });
        oneLine("gpt2-wt103", line).test(ended.stderr);
        expect(existsSync(join(place.work, "refused"))).toBe(false);
      },
      PATIENCE,
    );
  }

  test(
    "a folder with other files in it, and leaves them",
    async () => {
      const own = join(place.work, "letters");
      mkdirSync(own);
      writeFileSync(join(own, "letter.txt"), "Dear Ada");
      for (const flags of [[], ["--fresh"]]) {
        const ended = await run(RECIPE, [...QUICK, "--run", "letters", ...flags], place);
        expect(ended.code).toBe(2);
        expect(ended.stderr).toMatch(/^gpt2-wt103: letters has files that do not belong to a run; [^\n]+\n$/);
        expect(readdirSync(own)).toEqual(["letter.txt"]);
      }
    },
    PATIENCE,
  );

  test(
    "--fresh with settings that cannot be meant, and keeps the run that is there",
    async () => {
      const args = [...QUICK, "--structure", "lowrank", "--steps", "1", "--run", "kept"];
      expect((await run(RECIPE, args, place)).code).toBe(0);
      const before = readdirSync(join(place.work, "kept")).sort();
      const ended = await run(RECIPE, [...args, "--fresh", "--context", "64"], place);
      expect(ended.code).toBe(2);
      expect(readdirSync(join(place.work, "kept")).sort()).toEqual(before);
    },
    PATIENCE,
  );

  test(
    "a push without a token, before any work",
    async () => {
      const env = { HF_ENDPOINT: "http://127.0.0.1:9", HF_TOKEN: "", HF_TOKEN_PATH: "/nowhere" };
      const ended = await run(RECIPE, [...QUICK, "--run", "refused", "--push", "me/a"], { ...place, env });
      expect(ended).toMatchObject({ code: 2, stdout: "" });
      expect(ended.stderr).toBe("gpt2-wt103: --push me/a needs a token with write access; set HF_TOKEN\n");
    },
    PATIENCE,
  );
});

describe("gblr finetune refuses", () => {
  test(
    "to guess a data set",
    async () => {
      const ended = await run(GBLR, ["finetune", "tiny/gpt2", "--engine", "wasm"], place);
      expect(ended).toEqual({ code: 2, stdout: "", stderr: "gblr: --dataset is missing\n" });
    },
    PATIENCE,
  );

  test(
    "a packed model without what training needs",
    async () => {
      const converted = ["convert", "tiny/gpt2", "--structure", "gblr", "--budget", "0.5", "--engine", "wasm"];
      expect((await run(GBLR, [...converted, "--out", "packed"], place)).code).toBe(0);
      await Bun.file(join(place.work, "packed/trainable.safetensors")).delete();
      const args = ["finetune", "packed", "--dataset", "tiny/stories", "--context", "32", "--engine", "wasm"];
      const ended = await run(GBLR, [...args, "--run", "refused"], place);
      expect(ended.code).toBe(1);
      expect(ended.stderr).toMatch(
        /^gblr: [^\n]*is packed and cannot be trained; there is no trainable.safetensors[^\n]*\n$/,
      );
      expect(existsSync(join(place.work, "refused"))).toBe(false);
    },
    PATIENCE,
  );
});

describe("gblr eval ppl refuses", () => {
  const cases: [what: string, args: string[], code: 1 | 2, line: RegExp][] = [
    ["a model that is not there", ["tiny/nope"], 1, /has no model "tiny\/nope"/],
    ["a model that is no GPT-2", ["tiny/bert"], 1, /bert/],
    ["a split that is not there", ["tiny/gpt2", "--split", "holdout"], 1, /has no split "holdout"/],
    ["a context longer than the positions", ["tiny/gpt2", "--context", "33"], 2, /^--context 33 is longer than/],
    [
      "a stride longer than the context",
      ["tiny/gpt2", "--context", "8", "--stride", "9"],
      2,
      /^--stride 9 is longer than/,
    ],
    ["a stride longer than the positions", ["tiny/gpt2", "--stride", "33"], 2, /^--stride 33 is longer than/],
    ["a limit of nothing", ["tiny/gpt2", "--limit", "0"], 2, /It must be a whole number from 1/],
  ];
  for (const [what, args, code, line] of cases) {
    test(
      what,
      async () => {
        const flags = ["--dataset", "tiny/stories", "--engine", "wasm", "--json"];
        const ended = await run(GBLR, ["eval", "ppl", ...args, ...flags], place);
        expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: "" });
        oneLine("gblr", line).test(ended.stderr);
      },
      PATIENCE,
    );
  }
});

/** A file system of four megabytes; undefined where none can be mounted. */
function smallDisk(at: string): string | undefined {
  mkdirSync(at);
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", at], { stdio: "ignore" });
  return status === 0 ? at : undefined;
}

test.skipIf(process.platform !== "linux" || process.getuid?.() !== 0)(
  "no space left is one line, and the run goes on where there is space again",
  async () => {
    const disk = smallDisk(folder("disk"));
    if (disk === undefined) return;
    try {
      const filler = join(disk, "filler");
      writeFileSync(filler, new Uint8Array(3_600_000));
      const args = [...QUICK, "--budget", "0.5", "--steps", "2", "--run", join(disk, "run")];
      const full = await run(RECIPE, args, place);
      expect(full.code).toBe(1);
      expect(full.stderr).toMatch(/^gpt2-wt103: [^\n]*the disk is full[^\n]*\n$/);
      await Bun.file(filler).delete();
      const again = await run(RECIPE, args, place);
      expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: "" });
    } finally {
      spawnSync("umount", [disk]);
    }
  },
  PATIENCE,
);
