// `bun bench/llama.ts MODEL`: a pretrained Llama-family model here and in transformers, on the same folder, the same
// token ids and the same number of threads: agreement of logits, greedy text and perplexity, and the speed of
// evaluation, training and generation. Both contestants of a phase run in turn, each in a process of its own
// (llama/phase.ts and llama/transformers_peer.py).

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { openTextTokens, type TokenFile } from "../workbench/data/index.ts";
import { ENGINE_NAMES } from "../workbench/engine/core/types.ts";
import type { PhaseAnswer, PhaseRequest } from "./llama/request.ts";
import { progress, runPhase } from "./phases.ts";

interface Options {
  dataset: string;
  engine: (typeof ENGINE_NAMES)[number];
  threads: number;
  rounds: number;
  python: string;
  only?: PhaseRequest["phase"];
  json?: boolean;
}

const command = new Command("bun bench/llama.ts")
  .description("a pretrained Llama-family model compared with transformers: agreement, speed and memory")
  .argument("<model>", "model folder, for example made by gblr import of a GGUF file")
  .requiredOption("--dataset <folder>", "text data set with the splits train and test")
  .addOption(new Option("--engine <name>").choices(ENGINE_NAMES).default("torch"))
  .option("--threads <count>", "CPU threads", countFrom(1), os.availableParallelism())
  .option("--rounds <count>", "runs of each contestant, in turn", countFrom(1), 3)
  .option("--python <path>", "the Python whose transformers runs", process.env.GBLR_PYTHON ?? "python3")
  .addOption(new Option("--only <phase>").choices(["parity", "evaluate", "train", "generate"]))
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/llama.ts runs/smollm2 --dataset wikitext --rounds 3")
  .parse();

const options = command.opts<Options>();
const [folder] = command.args as [string];
const scratch = await mkdtemp(path.join(os.tmpdir(), "gblr-bench-"));

/** What a phase measures. */
interface Compared {
  phase: PhaseRequest["phase"];
  ours: PhaseAnswer[];
  theirs: PhaseAnswer[];
}

/** What one second of each phase counts. */
const UNITS = {
  evaluate: ["windows of 1024 tokens/s", 1],
  train: ["tokens/s", 512],
  generate: ["tokens/s", 1],
} as const;

const compared: Compared[] = [];
try {
  for (const request of await requests()) {
    if (options.only === undefined || options.only === request.phase) compared.push(await compare(request));
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const report = { date: new Date().toISOString(), machine: inspectMachine(), options, compared };
process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : markdown()}\n`);

async function requests(): Promise<PhaseRequest[]> {
  const [test, train] = [await tokensOf("test"), await tokensOf("train")];
  const { engine, threads } = options;
  const texts = await all(20, (i) => idsOf(train, { start: Math.floor(train.length / 20) * i, count: 128 }));
  const common = { folder, engine, threads, texts, logits: path.join(scratch, "logits"), scratch };
  const generated = { prompt: await idsOf(test, { start: 0, count: 32 }), tokens: 200 };
  const ofTest = (count: number, context: number) =>
    all(count, (i) => idsOf(test, { start: i * context, count: context + 1 }));
  const scored = await all(20, (i) => idsOf(test, { start: i * 1024, count: 1024 }));
  return [
    { phase: "parity", windows: scored, batch: 1, steps: 1, ...generated, ...common },
    { phase: "evaluate", windows: await ofTest(8, 1024), batch: 2, steps: 1, ...generated, ...common },
    { phase: "train", windows: await ofTest(10, 512), batch: 2, steps: 5, ...generated, ...common },
    { phase: "generate", windows: [], batch: 1, steps: 3, ...generated, ...common },
  ];
}

async function tokensOf(split: string): Promise<TokenFile> {
  const { dataset } = options;
  for await (const event of openTextTokens({ dataset, split, tokenizer: folder, cache: scratch })) {
    if (event.kind === "tokens") return event.tokens;
  }
  throw new Error(`${dataset} was not tokenized to its end`);
}

function all(count: number, make: (i: number) => Promise<number[]>): Promise<number[][]> {
  return Promise.all(Array.from({ length: count }, (_, i) => make(i)));
}

async function idsOf(tokens: TokenFile, { start, count }: { start: number; count: number }): Promise<number[]> {
  return [...(await tokens.read(start, count))];
}

async function compare(request: PhaseRequest): Promise<Compared> {
  const [ours, theirs]: [PhaseAnswer[], PhaseAnswer[]] = [[], []];
  const rounds = request.phase === "parity" ? 1 : options.rounds;
  for (let round = 0; round < rounds; round++) {
    progress(`${request.phase}, transformers, round ${round + 1} of ${rounds}`);
    const peer = path.join(import.meta.dirname, "llama/transformers_peer.py");
    theirs.push(await runPhase<PhaseAnswer>([options.python, peer], request));
    progress(`${request.phase}, ours, round ${round + 1} of ${rounds}`);
    ours.push(
      await runPhase<PhaseAnswer>([process.execPath, path.join(import.meta.dirname, "llama/phase.ts")], request),
    );
  }
  return { phase: request.phase, ours, theirs };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2;
}

/** The median of a process, without its first measurement, which also allocates memory. */
function steady({ seconds = [] }: PhaseAnswer): number {
  return median(seconds.length > 1 ? seconds.slice(1) : seconds);
}

function speedRow({ phase, ours, theirs }: Compared): string {
  const [unit, per] = UNITS[phase as keyof typeof UNITS];
  const ratios = ours.map((answer, i) => steady(theirs[i] as PhaseAnswer) / steady(answer));
  const range = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
  const rate = (answers: PhaseAnswer[]) => (per / median(answers.map(steady))).toPrecision(3);
  const memory = (answers: PhaseAnswer[]) => formatBytes(Math.max(...answers.map(({ peakBytes }) => peakBytes)));
  return `| ${phase} | ${unit} | ${rate(ours)} | ${rate(theirs)} | ${median(ratios).toFixed(2)} (${range}) | ${memory(ours)} | ${memory(theirs)} |`;
}

function parityLines({ ours: [own], theirs: [peer] }: Compared): string[] {
  const [a, b] = [own as PhaseAnswer, peer as PhaseAnswer];
  const same = (a.greedy ?? []).filter((id, i) => id === b.greedy?.[i]).length;
  const [p, q] = [Math.exp(a.nll as number), Math.exp(b.nll as number)];
  return [
    "| agreement with transformers | |",
    "| :-- | --: |",
    `| largest relative error of the logits of a text, 20 texts of 128 tokens | ${a.logitError?.toExponential(1)} |`,
    `| equal tokens of the greedy text | ${same} of ${b.greedy?.length} |`,
    `| perplexity of 20 windows of 1023 targets, here and there | ${p.toFixed(4)}, ${q.toFixed(4)} |`,
    `| relative difference | ${(Math.abs(p - q) / q).toExponential(1)} |`,
  ];
}

function markdown(): string {
  const { machine } = report;
  const parity = compared.find(({ phase }) => phase === "parity");
  const speeds = compared.filter(({ phase }) => phase !== "parity");
  const [first] = compared;
  return [
    `# ${path.basename(folder)} here and in transformers`,
    "",
    `${report.date.slice(0, 10)}, ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)} of memory, ${machine.system}.`,
    `${first?.ours[0]?.version}; ${first?.theirs[0]?.version}; ${options.threads} threads, float32.`,
    "",
    ...(parity ? [...parityLines(parity), ""] : []),
    ...(speeds.length > 0
      ? [
          "| what | unit | ours | transformers | ratio (range of rounds) | our peak memory | theirs |",
          "| :-- | :-- | --: | --: | --: | --: | --: |",
          ...speeds.map(speedRow),
          "",
          `Medians of ${options.rounds} rounds, in which both contestants run in turn. Ratios above 1 mean that ours is faster.`,
          "Evaluation: batches of 2 windows. Training: AdamW, batches of 2 windows of 512 tokens. Generation: greedy, 200 tokens",
          "after a prompt of 32.",
          "",
        ]
      : []),
  ].join("\n");
}
