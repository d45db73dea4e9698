// What is read of lm_eval: scores in its results file, and the progress in the bars that tqdm writes.

import { expect, test } from "bun:test";
import { progressReader } from "../../../workbench/pipeline/harness/progress.ts";
import { scoresIn } from "../../../workbench/pipeline/harness/scores.ts";

/** As lm_eval 0.4.13 writes it: the keys that are not scores are among them. */
const FILE = `{
  "results": {
    "group": {
      "alias": "group",
      "acc,none": 0.5,
      "acc_stderr,none": 0.25
    },
    "part": {
      "alias": " - part: NaN",
      "sample_len": 4,
      "exact_match,strict-match": 0.125,
      "exact_match_stderr,strict-match": "N/A",
      "exact_match,flexible-extract": 0.75,
      "perplexity,none": Infinity,
      "perplexity_stderr,none": NaN
    },
    "untested": {
      "alias": "untested",
      "bypass,none": "bypass"
    }
  },
  "n-shot": {
    "part": 5
  },
  "n-samples": {
    "part": {
      "original": 100,
      "effective": 4
    }
  },
  "versions": {
    "group": "N/A",
    "part": 1.0
  },
  "higher_is_better": {
    "part": {
      "exact_match": true,
      "perplexity": false
    }
  }
}`;

test("scores are those of every metric and filter, with what is known of the task", () => {
  const part = { task: "part", alias: " - part: NaN", shots: 5, samples: 4, version: "1" };
  expect(scoresIn(FILE)).toEqual([
    { task: "group", alias: "group", metric: "acc", filter: "none", value: 0.5, stderr: 0.25 },
    { ...part, metric: "exact_match", filter: "strict-match", value: 0.125, higherIsBetter: true },
    { ...part, metric: "exact_match", filter: "flexible-extract", value: 0.75, higherIsBetter: true },
    {
      ...{ ...part, metric: "perplexity", filter: "none", value: Number.POSITIVE_INFINITY },
      ...{ stderr: Number.NaN, higherIsBetter: false },
    },
  ]);
});

test("a file of another form is refused in one line", () => {
  expect(() => scoresIn('{"results": []}')).toThrow(
    /^the results of lm_eval have an unknown form \(at results\); [^\n]+$/,
  );
});

test("progress is the number of requests, or of documents that take several", () => {
  const read = progressReader();
  const lines = [
    "2026-11-30:01:17:20 INFO     [evaluator:574] Running loglikelihood requests",
    "100%|██████████| 3/3 [00:00<00:00, 1028.52it/s]",
    "Requesting API:   0%|          | 0/8 [00:00<?, ?it/s]",
    "Requesting API:  62%|██████▎   | 5/8 [00:00<00:00, 36.57it/s]",
    "  0%|          | 0/2 [00:00<?, ?it/s]",
    "Requesting API:  50%|#####     | 1/2 [00:01<00:01,  1.00s/it]",
    " 50%|█████     | 1/2 [00:00<00:00, 12.22it/s]",
    "Generating test split: 3 examples [00:00, 405.74 examples/s]",
    "Downloading data:  21%|██        | 21.0M/100M [00:00<00:03, 21.0MB/s]",
  ];
  expect(lines.map(read)).toEqual([
    undefined,
    { what: "documents", done: 3, of: 3 },
    { what: "requests", done: 0, of: 8 },
    { what: "requests", done: 5, of: 8 },
    { what: "documents", done: 0, of: 2 },
    { what: "documents", done: 0, of: 2 },
    { what: "documents", done: 1, of: 2 },
    undefined,
    undefined,
  ]);
});
