// The parts of bench/gpu.sh: a command for each, how long it may take, and what of its output goes into the table. They
// stand in the order of their worth, because time may run out.

import path from "node:path";
import process from "node:process";
import type { Precision } from "../../workbench/engine/core/types.ts";
import { type Output, type Row, readers } from "./rows.ts";

export interface Part {
  name: string;
  /** seconds that it may take */
  limit: number;
  /** program and arguments, run in the project's folder */
  argv: readonly [string, ...string[]];
  /** @throws Error if the output has no results, or says that something failed */
  read(output: Output): Row[];
}

export interface Setting {
  /** cpu, cuda */
  device: string;
  precision: Precision;
  /** small sizes, for a check that all parts run */
  quick: boolean;
  /** the Python whose PyTorch is the peer */
  python: string;
}

/** Small sizes take a few seconds each, on a machine that does nothing else. */
const QUICK_LIMIT = 300;

const root = path.join(import.meta.dirname, "../..");
const script = (file: string, ...args: string[]): [string, ...string[]] => [
  process.execPath,
  path.join(root, file),
  ...args,
];

export function partsOf(setting: Setting): Part[] {
  const parts = [build, training, inference, decomposition, checks].flatMap((make) => make(setting));
  return setting.quick ? parts.map((part) => ({ ...part, limit: QUICK_LIMIT })) : parts;
}

function build({ device }: Setting): Part {
  const argv = script("bench/gpu/build.ts", device);
  return { name: "build", limit: 150, argv, read: readers.build };
}

/** GPT-2 small, each contestant in a part of its own. */
function training({ device, precision, quick, python }: Setting): Part[] {
  const sizes = quick
    ? ["--size", "mini", "--context", "64", "--batch", "2", "--micro-batch", "2", "--steps", "3"]
    : ["--size", "small", "--context", "1024", "--batch", "16", "--micro-batch", "16", "--steps", "25"];
  const common = ["--device", device, "--precision", precision, "--python", python, ...sizes, "--json"];
  const part = (contestant: string, limit: number, ...more: string[]): Part => ({
    name: `GPT-2 training, ${contestant}`,
    limit,
    argv: script("bench/gpt2.ts", "--engine", "torch", "--only", `train, ${contestant}`, ...more, ...common),
    read: readers.training,
  });
  return [
    part("PyTorch dense", 60),
    part("dense", 60),
    part("gblr", 75),
    part("lowrank", 75),
    part("PyTorch compiled", 120, "--compiled"),
  ];
}

/** Whole models, dense and GBLR at 40 and 25 % in turn. */
function inference({ device, precision, quick, python }: Setting): Part[] {
  const common = ["--device", device, "--precision", precision, "--json"];
  const part = (model: string, full: string[], small: string[]): Part => ({
    name: `${model} inference`,
    limit: 75,
    argv: script("bench/inference.ts", "--model", model, ...common, ...(quick ? small : full)),
    read: readers.inference,
  });
  const peer = ["--python", python];
  const small = ["--batch", "1", "--context", "32", "--blocks", "1", "--rounds", "1", "--tokens", "4"];
  return [
    part("vit-b", ["--batch", "256", "--rounds", "9", ...peer], ["--batch", "1", "--rounds", "1", ...peer]),
    part(
      "gpt2",
      ["--batch", "32", "--context", "1023", "--rounds", "7", "--tokens", "48", ...peer],
      [...small, ...peer],
    ),
    part("smollm2", ["--batch", "32", "--context", "1024", "--rounds", "7", "--tokens", "48"], small),
  ];
}

function decomposition({ device, quick }: Setting): Part[] {
  const argv = script("bench/svd.ts", "--device", device, "--layers", quick ? "1" : "12", "--json");
  return [{ name: "SVD of GPT-2's layers", limit: 60, argv, read: readers.svd }];
}

/** Whether the results are right: TensorFlow.js's suite, and our tests of operators. */
function checks({ device, quick }: Setting): Part[] {
  const suite = ["--engine", "torch", "--device", device, "--json", ...(quick ? ["--grep", "matmul"] : [])];
  const tests = quick
    ? ["tests/engine/ops/linear.test.ts"]
    : ["tests/engine/ops", "tests/engine/bfloat16.test.ts", "tests/gblr/torch-compositions.test.ts"];
  const named = ["--test-name-pattern", `torch on ${device}`, "--timeout", "60000"];
  return [
    {
      name: "TensorFlow.js's suite",
      limit: 100,
      argv: script("tests/engine/tfjs-suite.ts", ...suite),
      read: readers.suite,
    },
    {
      name: "tests of operators",
      limit: 100,
      argv: [process.execPath, "test", ...tests, ...named],
      read: readers.tests,
    },
  ];
}
