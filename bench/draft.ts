// `bun bench/draft.ts MODEL DRAFT`: tokens per second of greedy generation by a model alone and with a draft, in turn, and
// the share of the draft's tokens that the model keeps.

import process from "node:process";
import { Command } from "commander";
import { inspectMachine } from "../workbench/cli/doctor/collect.ts";
import { countFrom } from "../workbench/cli/shared/options.ts";
import { threeDigits } from "../workbench/cli/shared/terminal.ts";
import { median } from "../workbench/engine/core/measure.ts";
import { openEngine } from "../workbench/engine/index.ts";
import { type GeneratedText, generateText, openGenerator, type TextGenerator } from "../workbench/pipeline/generate.ts";
import { resultOf } from "../workbench/pipeline/stage.ts";

const command = new Command("bun bench/draft.ts")
  .description("greedy generation with a draft over generation without one")
  .argument("<model>", "model folder")
  .argument("<draft>", "model folder of a model with the same vocabulary, such as a compressed one")
  .option("--draft-tokens <n>", "most tokens that the draft proposes at once", countFrom(1), 3)
  .option("--tokens <count>", "tokens of each text", countFrom(8), 64)
  .option("--rounds <count>", "texts of each way, in turn", countFrom(1), 5)
  .option("--threads <count>", "CPU threads (default: one per core)", countFrom(1))
  .addHelpText("after", "\nExample:\n  bun bench/draft.ts SmolLM2-135M-Instruct runs/smollm2-40")
  .parse();

const { draftTokens, tokens, rounds, threads } = command.opts<{
  draftTokens: number;
  tokens: number;
  rounds: number;
  threads?: number;
}>();
const [folder, drafting] = command.args as [string, string];
const PROMPTS = ["The history of the town begins", "In the first half of the season", "The bridge was built in"];

interface Timed {
  perSecond: number;
  made: GeneratedText;
}

async function timed(generator: TextGenerator, round: number): Promise<Timed> {
  const text = PROMPTS[round % PROMPTS.length] as string;
  const prompt = { text, ids: generator.tokenizer.encode(text, { specialTokens: true }), continued: true };
  const began = performance.now();
  const made = await resultOf(generateText(generator, prompt, { temperature: 0, tokens, endOfText: [] }));
  return { perSecond: (1000 * made.ids.length) / (performance.now() - began), made };
}

await openEngine({ engine: "torch", ...(threads !== undefined && { threads }) });
const draft = { folder: drafting, name: drafting, tokens: draftTokens };
const alone = await resultOf(openGenerator(folder, { name: folder }));
const both = await resultOf(openGenerator(folder, { name: folder, draft }));
const pairs: { plain: Timed; drafted: Timed }[] = [];
for (let round = -1; round < rounds; round++) {
  const pair = { plain: await timed(alone, round + 1), drafted: await timed(both, round + 1) };
  // The first round allocates memory.
  if (round >= 0) pairs.push(pair);
}
const sum = (of: "drafted" | "kept") =>
  pairs.reduce((total, { drafted }) => total + (drafted.made.draft?.[of] ?? 0), 0);
const equal = pairs.filter(({ plain, drafted }) => plain.made.text === drafted.made.text).length;
const { cpu } = inspectMachine();
const rate = (way: "plain" | "drafted") => threeDigits(median(pairs.map((pair) => pair[way].perSecond)));
process.stdout.write(`${cpu}, median of ${rounds} texts of ${tokens} tokens, at most ${draftTokens} drafted at once

| way          | tokens/s | over plain | drafted tokens kept | texts as plain |
| ------------ | -------- | ---------- | ------------------- | -------------- |
| plain        | ${rate("plain")} | 1 | | |
| with a draft | ${rate("drafted")} | ${median(pairs.map(({ plain, drafted }) => drafted.perSecond / plain.perSecond)).toFixed(2)} | ${((100 * sum("kept")) / Math.max(1, sum("drafted"))).toFixed(0)} % | ${equal} of ${rounds} |
`);
for (const generator of [alone, both]) generator.dispose();
process.exit(0);
