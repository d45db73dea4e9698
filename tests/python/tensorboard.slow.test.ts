// TensorBoard reads the event files of a run: the scalars are the metrics of the run, and a run that was killed and resumed
// has each step once.

import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { makeTinyHub, QUICK, RECIPE, run, start } from "../pipeline/tiny-hub.ts";
import { askPython, PATIENCE, pythonWith } from "./python.ts";

const python = pythonWith("tensorboard");
const at = temporaryFolder();
const ARGS = [
  ...[...QUICK, "--flops", "0.6", "--shrink", "budget", "--start-cost", "0.9", "--sigma", "1,100"],
  ...["--compare", "lowrank", "--steps", "24", "--evaluate-every", "0.4", "--checkpoint-every", "0.3"],
  ...["--run", "runs/tiny", "--tensorboard", "boards"],
];
let hub: string;

beforeAll(async () => {
  await openEngine({ engine: "wasm" });
  hub = await makeTinyHub(at("hub"));
});

function place(name: string) {
  mkdirSync(at(name));
  return { hub, work: at(name) };
}

/** By tag, the steps with their values. */
type Curves = Record<string, [step: number, value: number][]>;

/** Prints every scalar in the event files of a folder, as they are in the files, and the tags of the whole board. */
const READ = `
import glob, json, os, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
folder, curves, times = sys.argv[1], {}, []
for file in sorted(glob.glob(os.path.join(folder, "*tfevents*"))):
    for event in LegacyEventFileLoader(file).Load():
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append([event.step, value.simple_value])
            times.append(event.wall_time)
board = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
board.Reload()
shown = {tag: [event.step for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
print(json.dumps({"curves": curves, "shown": shown, "times": times}))
`;

interface Read {
  curves: Curves;
  shown: Record<string, number[]>;
  times: number[];
}

/** What metrics.jsonl says, by the tags that the docs promise. */
function curvesOf(folder: string): Curves {
  const curves: Curves = {};
  const add = (tag: string, step: number, value: number | undefined) => {
    if (value === undefined) return;
    curves[tag] ??= [];
    curves[tag].push([step, Math.fround(value)]);
  };
  for (const line of readFileSync(path.join(folder, "metrics.jsonl"), "utf8").trim().split("\n")) {
    const { kind, step, split, values = {}, relativeFlops = {}, ...numbers } = JSON.parse(line);
    if (kind === "step") {
      add("train/loss", step, numbers.loss);
      add("train/learning_rate", step, numbers.learningRate);
      add("train/gradient_norm", step, numbers.gradientNorm);
      add("train/rate", step, numbers.rate);
      add("structure/sigma", step, numbers.sigma);
      add("structure/mean_width", step, numbers.meanWidth);
      add("structure/relative_cost", step, numbers.relativeCost);
    }
    for (const [name, value] of Object.entries(values)) add(`${split}/${name}`, step, value as number);
    add("structure/relative_flops_reference", step, relativeFlops.reference);
    add("structure/relative_flops_actual", step, relativeFlops.actual);
  }
  return curves;
}

async function expectBoards(work: string): Promise<void> {
  for (const own of ["tiny", "tiny/compare/lowrank"]) {
    const board = path.join(work, "boards", own);
    expect(readdirSync(board).filter((name) => name !== "compare")).toEqual([
      expect.stringMatching(/^events\.out\.tfevents\.\d+\.gblr\.\d+$/),
    ]);
    const { curves, shown, times } = await askPython<Read>(python, READ, { args: [board] });
    const expected = curvesOf(path.join(work, "runs", own));
    expect(curves).toEqual(expected);
    const steps = Object.entries(expected).map(([tag, points]) => [tag, points.map(([step]) => step)]);
    expect(shown).toEqual(Object.fromEntries(steps));
    expect(shown["train/loss"]).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
    expect(shown["validation/perplexity"]?.at(0)).toBe(0);
    expect(shown["validation/perplexity"]?.at(-1)).toBe(24);
    expect(shown["structure/sigma"]?.length).toBe(own === "tiny" ? 24 : undefined);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.abs((times.at(-1) as number) - Date.now() / 1000)).toBeLessThan(3600);
  }
}

const logged = (work: string): number => {
  try {
    return readFileSync(path.join(work, "runs/tiny/metrics.jsonl"), "utf8").split('"kind":"step"').length - 1;
  } catch {
    return 0;
  }
};

test.skipIf(!python)(
  "a run that was killed and resumed has each of its steps once, with its values",
  async () => {
    const own = place("killed");
    for (const steps of [10, 17]) {
      const child = start(RECIPE, ARGS, own);
      while (logged(own.work) < steps) {
        expect(child.exitCode).toBeNull();
        await Bun.sleep(2);
      }
      child.kill("SIGKILL");
      await child.exited;
      expect(logged(own.work)).toBeLessThan(24);
    }
    expect(await run(RECIPE, ARGS, own)).toMatchObject({ code: 0, stderr: "" });
    await expectBoards(own.work);
  },
  PATIENCE,
);

test.skipIf(!python)(
  "event files that are asked for when a run is resumed have its first steps too",
  async () => {
    const own = place("later");
    const without = ARGS.filter((arg) => arg !== "--tensorboard" && arg !== "boards");
    const child = start(RECIPE, without, own);
    while (logged(own.work) < 12) await Bun.sleep(2);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(await run(RECIPE, ARGS, own)).toMatchObject({ code: 0, stderr: "" });
    const { curves } = await askPython<Read>(python, READ, { args: [path.join(own.work, "boards/tiny")] });
    expect(curves).toEqual(curvesOf(path.join(own.work, "runs/tiny")));
  },
  PATIENCE,
);

test(
  "a folder that cannot be written is refused in one line before anything is converted",
  async () => {
    const own = place("refused");
    await Bun.write(path.join(own.work, "file"), "");
    const { code, stderr } = await run(RECIPE, [...ARGS, "--tensorboard", "file/boards"], own);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gpt2-wt103: file\/boards: cannot be created: [^\n]+\n$/);
    expect(readdirSync(path.join(own.work, "runs/tiny")).filter((name) => name === "converted")).toEqual([]);
  },
  PATIENCE,
);
