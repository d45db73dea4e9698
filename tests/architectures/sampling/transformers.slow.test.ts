// The tokens that are left, and their probabilities, against transformers' own processors: each setting of
// generation_config.json alone, and several together. Compared are the distributions, since draws differ.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { filtersOf, penaltiesOf, processAll } from "../../../workbench/architectures/parts/sampling/choose.ts";
import { Scores } from "../../../workbench/architectures/parts/sampling/scores.ts";
import { generationConfigOf } from "../../../workbench/models/index.ts";
import { temporaryFolder } from "../../hub/temporary.ts";
import { askPython, PATIENCE, pythonWith } from "../../python/python.ts";

const python = pythonWith("torch", "transformers");
const folder = temporaryFolder();

interface Case {
  /** settings as in generation_config.json */
  config: Record<string, unknown>;
  sequence: number[];
  /** length of the prompt */
  prompt: number;
  seed: number;
  /** the logits are uniform over this range */
  spread: number;
}

interface Answer {
  left: number[];
  log: number[];
}

/** The numbers of logits_of in processed.py. */
function logitsOf(seed: number, count: number, spread: number): Float32Array {
  let state = BigInt(seed);
  return Float32Array.from({ length: count }, () => {
    state = (state * 1103515245n + 12345n) % 2n ** 31n;
    return spread * (Number(state) / 2 ** 31 - 0.5);
  });
}

const END = [3, 17];
const SEQUENCE = [5, 9, 5, 9, 12, 3, 5, 9, 12];

const SETTINGS: Record<string, unknown>[] = [
  {},
  { do_sample: true },
  { do_sample: true, top_k: 0 },
  { do_sample: true, top_k: 7, temperature: 0.6 },
  { do_sample: true, top_k: 0, top_p: 0.9 },
  { do_sample: true, top_k: 0, top_p: 0.05 },
  { do_sample: true, top_k: 0, top_p: 0 },
  { do_sample: true, top_k: 40, top_p: 0.7, temperature: 1.7 },
  { do_sample: true, top_k: 0, min_p: 0.02 },
  { do_sample: true, top_k: 0, top_h: 0.4 },
  { do_sample: true, top_k: 0, top_h: 0.01 },
  { do_sample: true, top_k: 0, typical_p: 0.3 },
  { do_sample: true, top_k: 0, typical_p: 0.95 },
  { do_sample: true, top_k: 0, epsilon_cutoff: 3e-3 },
  { do_sample: true, top_k: 0, epsilon_cutoff: 0.9 },
  { do_sample: true, top_k: 0, eta_cutoff: 2e-3 },
  { do_sample: true, top_k: 0, eta_cutoff: 0.3 },
  { do_sample: true, top_k: 30, top_p: 0.95, min_p: 0.05, typical_p: 0.9, epsilon_cutoff: 1e-3, eta_cutoff: 1e-3 },
  { repetition_penalty: 1.3 },
  { repetition_penalty: 0.7 },
  { no_repeat_ngram_size: 1 },
  { no_repeat_ngram_size: 2 },
  { no_repeat_ngram_size: 3 },
  { no_repeat_ngram_size: 20 },
  { bad_words_ids: [[4], [9, 12, 30], [12, 31], [1, 12, 32], [3], [17, 2]] },
  {
    sequence_bias: [
      [[4], 2.5],
      [[9, 12, 30], -1.5],
      [[12, 31], 4.5],
      [[31], 1.25],
      [[4], 3.5],
    ],
  },
  { min_length: 9 },
  { min_length: 10 },
  { min_new_tokens: 5 },
  { min_new_tokens: 6, min_length: 2 },
  { forced_bos_token_id: 8 },
  { forced_eos_token_id: 3, max_new_tokens: 6 },
  { forced_eos_token_id: [3, 6], max_length: 10 },
  { forced_eos_token_id: 3, max_new_tokens: 7 },
  { exponential_decay_length_penalty: [2, 1.5] },
  { exponential_decay_length_penalty: [9, 1.5] },
  { suppress_tokens: [1, 2, 40, 5000] },
  { begin_suppress_tokens: [1, 2] },
  { begin_suppress_tokens: [1, 2], forced_bos_token_id: 8 },
  {
    do_sample: true,
    temperature: 0.8,
    top_p: 0.9,
    repetition_penalty: 1.2,
    no_repeat_ngram_size: 3,
    min_new_tokens: 9,
    suppress_tokens: [7],
    bad_words_ids: [[12, 11]],
  },
];

const CASES: Case[] = SETTINGS.flatMap((config, i) => [
  { config, sequence: SEQUENCE, prompt: 4, seed: 11 + i, spread: 12 },
  { config, sequence: SEQUENCE, prompt: 9, seed: 101 + i, spread: 3 },
  { config, sequence: [9], prompt: 1, seed: 201 + i, spread: 30 },
  { config, sequence: [9, 5], prompt: 1, seed: 301 + i, spread: 8 },
]);

async function processed({ config, sequence, prompt, seed, spread }: Case, vocabulary: number): Promise<Answer> {
  writeFileSync(path.join(folder(), "generation_config.json"), JSON.stringify(config));
  const { sampling, sample, tokens, maxLength } = await generationConfigOf(folder());
  const most = tokens === undefined ? (maxLength ?? 20 + prompt) : prompt + tokens;
  const penalties = penaltiesOf(sampling, { prompt, maxLength: most, endOfText: END, vocabulary });
  const scores = new Scores(logitsOf(seed, vocabulary, spread));
  processAll([...penalties, ...(sample ? filtersOf(sampling) : [])], scores, { sequence, prompt });
  const { scores: values, most: largest, total } = scores.distribution();
  return { left: [...scores.left], log: [...values].map((score) => score - largest - Math.log(total)) };
}

for (const vocabulary of [50, 3000]) {
  test.skipIf(!python)(
    `leaves the distribution that transformers leaves, of ${vocabulary} tokens`,
    async () => {
      const input = JSON.stringify({ vocabulary, endOfText: END, cases: CASES });
      const wanted = await askPython<Answer[]>(python, `${import.meta.dir}/processed.py`, { input });
      for (const [i, asked] of CASES.entries()) {
        const found = await processed(asked, vocabulary);
        const answer = wanted[i] as Answer;
        const said = JSON.stringify(asked);
        expect([said, found.left]).toEqual([said, answer.left]);
        const worst = Math.max(0, ...found.log.map((log, at) => Math.abs(log - (answer.log[at] as number))));
        expect([said, worst < 2e-5 * asked.spread]).toEqual([said, true]);
      }
    },
    PATIENCE,
  );
}
