// Event files of TensorBoard, bytes and folder. tests/python/tensorboard.slow.test.ts lets TensorBoard read them.

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { openBoard, startRun } from "../../workbench/report/index.ts";
import { headRecords, scalarRecord } from "../../workbench/report/tensorboard/event-file.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { facts } from "./example-run.ts";

const at = temporaryFolder();
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("records have the bytes that PyPI's tensorboard 2.21 writes for the same events", () => {
  expect(hex(headRecords(1.5))).toBe(
    [
      "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c",
      "0d000000000000003c37b83409000000000000f83f3a020801b718825c",
    ].join(""),
  );
  expect(hex(scalarRecord({ wallTime: 1.5, step: 300, scalars: { "train/loss": 0.5, σ: 2.25 } }))).toBe(
    "2c00000000000000f4aecc4509000000000000f83f10ac022a1e0a110a0a747261696e2f6c6f7373150000003f0a090a02cf8315000010403e948f93",
  );
});

const line = (step: number, loss: number) => ({
  ...({ kind: "step", step, epoch: step / 10, seconds: step / 4 } as const),
  ...{ loss, learningRate: 0.5, gradientNorm: 2, rate: 8 },
});

const asRecord = ({ step, seconds, loss }: ReturnType<typeof line>, begun: number) =>
  hex(
    scalarRecord({
      wallTime: begun + seconds,
      step,
      scalars: { "train/loss": loss, "train/learning_rate": 0.5, "train/gradient_norm": 2, "train/rate": 8 },
    }),
  );

test("a board has the steps in metrics.jsonl and those that follow, replaces the run's earlier one, and leaves other files", async () => {
  const run = at("run");
  const { started } = await startRun(run, facts());
  const [first, second] = [line(1, 3), line(2, 2.5)];
  writeFileSync(path.join(run, "metrics.jsonl"), `${JSON.stringify(first)}\n`);
  mkdirSync(at("board"));
  const others = ["events.out.tfevents.1700000000.host.1.0", "notes.txt"];
  for (const name of [...others, "events.out.tfevents.1700000000.gblr.7"]) writeFileSync(at("board", name), "");

  const board = await openBoard(at("board"), run);
  await board.append(second);
  await board.close();
  const names = readdirSync(at("board")).filter((name) => !others.includes(name));
  expect(names).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\.gblr\.\d+$/)]);
  expect(readdirSync(at("board"))).toHaveLength(3);
  const begun = Date.parse(started) / 1000;
  expect(hex(readFileSync(at("board", names[0] as string)))).toBe(
    hex(headRecords(begun)) + asRecord(first, begun) + asRecord(second, begun),
  );
});

test("a folder that cannot be written is an error of one line", async () => {
  await startRun(at("other"), facts());
  writeFileSync(at("file"), "");
  await expect(openBoard(at("file", "board"), at("other"))).rejects.toThrow(
    /^[^\n]*file\/board: cannot be written to: [^\n]+; give another --tensorboard$/,
  );
});
