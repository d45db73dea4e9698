// `bun bench/serve.ts MODEL`: the load of `gblr serve` on loopback: tokens per second of one client and of several at the
// same time, how soon a newcomer has its first token while others run, and the server's memory over the rounds. Rounds
// alternate between one client and several, because other programs may use the machine.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Command } from "commander";
import { formatBytes } from "../hub/text/numbers.ts";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { threeDigits } from "../workbench/cli/shared/terminal.ts";
import { median } from "../workbench/engine/core/measure.ts";

interface Options {
  clients: number;
  rounds: number;
  tokens: number;
  threads?: number;
  json?: boolean;
}

const command = new Command("bun bench/serve.ts")
  .description("the load of gblr serve on loopback, with one client and with several")
  .argument("<model>", "model folder")
  .option("--clients <count>", "clients at the same time", countFrom(2), 8)
  .option("--rounds <count>", "runs with one client and with several, in turn", countFrom(1), 3)
  .option("--tokens <count>", "tokens of each text", countFrom(8), 96)
  .option("--threads <count>", "CPU threads of the server (default: one per core)", countFrom(1))
  .option("--json", "one JSON document on stdout")
  .addHelpText("after", "\nExample:\n  bun bench/serve.ts SmolLM2-135M-Instruct")
  .parse();

const { clients, rounds, tokens, threads, json } = command.opts<Options>();
const [folder] = command.args as [string];
const GBLR = path.join(import.meta.dirname, "../workbench/cli/gblr.ts");

/** One run of some clients. */
interface Run {
  tokensPerSecond: number;
  /** the server's resident memory after it, bytes */
  resident: number;
}

/** How soon a newcomer had its first token. */
interface Newcomer {
  /** seconds from its request to its first token */
  seconds: number;
  /** tokens that a text which was running got in this time */
  turns: number;
}

const { child, url } = await started();
try {
  await runOf(clients, 0);
  const one: Run[] = [];
  const several: Run[] = [];
  const newcomers: Newcomer[] = [];
  for (let round = 1; round <= rounds; round++) {
    one.push(await runOf(1, round));
    several.push(await runOf(clients, round));
    newcomers.push(await newcomer(round));
  }
  const report = {
    date: new Date().toISOString(),
    machine: inspectMachine(),
    folder,
    clients,
    tokens,
    threads,
    one,
    several,
    newcomers,
  };
  process.stdout.write(`${json ? JSON.stringify(report, null, 2) : markdown(report)}\n`);
} finally {
  child.kill("SIGTERM");
  await once(child, "exit");
}

async function started(): Promise<{ child: ChildProcess; url: string }> {
  const args = [GBLR, "serve", folder, "--port", "0", "--json", "--concurrency", String(clients)];
  if (threads !== undefined) args.push("--threads", String(threads));
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface(child.stdout as Readable), "line")) as [string];
  return { child, url: (JSON.parse(line) as { url: string }).url };
}

/** Texts of so many clients at the same time. @param salt makes prompts different from those of other runs */
async function runOf(count: number, salt: number): Promise<Run> {
  const began = performance.now();
  const made = await Promise.all(Array.from({ length: count }, (_, i) => textOf(10 * salt + i, () => {})));
  const seconds = (performance.now() - began) / 1000;
  return { tokensPerSecond: made.reduce((sum, each) => sum + each, 0) / seconds, resident: await resident() };
}

/** A request while the other clients run. */
async function newcomer(salt: number): Promise<Newcomer> {
  let got = 0;
  let start = () => {};
  const halfway = new Promise<void>((resolve) => {
    start = resolve;
  });
  const others = Array.from({ length: clients - 1 }, (_, i) =>
    textOf(100 * salt + i, () => {
      if (i > 0) return;
      got++;
      if (got === Math.floor(tokens / 2)) start();
    }),
  );
  await halfway;
  const [began, before] = [performance.now(), got];
  let found: Newcomer | undefined;
  await textOf(100 * salt + 99, () => {
    found ??= { seconds: (performance.now() - began) / 1000, turns: got - before };
  });
  await Promise.all(others);
  return found as Newcomer;
}

/** Streams one text. @param onToken called when a token arrives @returns number of tokens */
async function textOf(salt: number, onToken: () => void): Promise<number> {
  const prompt = `Chapter ${salt}. The tower stood at the edge of the sea, and nobody knew who had built it. One day`;
  // Log-probabilities, so that there is a piece for each token.
  const body = { prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, logprobs: 0, stream: true };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok || !response.body) throw new Error(await response.text());
  let count = 0;
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.includes('"tokens":[')) continue;
      count++;
      onToken();
    }
  }
  if (count !== tokens) throw new Error(`${count} of ${tokens} tokens came`);
  return count;
}

async function resident(): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(text)?.[1]);
}

interface Report {
  date: string;
  machine: ReturnType<typeof inspectMachine>;
  one: Run[];
  several: Run[];
  newcomers: Newcomer[];
}

function markdown({ date, machine, one, several, newcomers }: Report): string {
  const rate = (runs: Run[]) => median(runs.map(({ tokensPerSecond }) => tokensPerSecond));
  const ratios = several.map(({ tokensPerSecond }, i) => tokensPerSecond / (one[i] as Run).tokensPerSecond);
  const memory = [...one, ...several].map((run) => run.resident);
  const turns = newcomers.map((each) => each.turns);
  const rows = [
    ["tokens/s, 1 client", threeDigits(rate(one))],
    [`tokens/s, ${clients} clients together`, threeDigits(rate(several))],
    ["ratio (range of rounds)", `${threeDigits(median(ratios))} (${ranged(ratios)})`],
    ["seconds to the first token of a newcomer", threeDigits(median(newcomers.map(({ seconds }) => seconds)))],
    ["tokens of a running text in this time, median and most", `${median(turns)}, ${Math.max(...turns)}`],
    ["resident memory, least and most", `${formatBytes(Math.min(...memory))}, ${formatBytes(Math.max(...memory))}`],
  ];
  return [
    `${date.slice(0, 10)}, ${JSON.stringify(machine)}`,
    "",
    "| what | |",
    "| :-- | --: |",
    ...rows.map(([what, value]) => `| ${what} | ${value} |`),
  ].join("\n");
}

const ranged = (values: number[]): string =>
  `${threeDigits(Math.min(...values))} to ${threeDigits(Math.max(...values))}`;
