// Task files of lm_eval for tests without a network: questions with choices, rolling perplexity, and generated texts.

import { writeFileSync } from "node:fs";
import path from "node:path";

const CHOICES = [
  { question: "the sky is", choices: ["blue", "loud", "a number"], answer: 0 },
  { question: "two and two are", choices: ["five", "four"], answer: 1 },
  { question: "água é", choices: ["seca", "molhada", "日本"], answer: 1 },
];
const TEXTS = ["the sea and the sky are two", `${"a long text that goes on and on, ".repeat(12)}and ends`].map(
  (text) => ({ text }),
);

const TASKS: Readonly<Record<string, { rows: readonly object[]; lines: readonly string[] }>> = {
  gblr_choices: {
    rows: CHOICES,
    lines: [
      "output_type: multiple_choice",
      'doc_to_text: "{{question}}"',
      'doc_to_choice: "{{choices}}"',
      'doc_to_target: "{{answer}}"',
      "metric_list:\n  - metric: acc",
    ],
  },
  gblr_rolling: {
    rows: TEXTS,
    lines: [
      "output_type: loglikelihood_rolling",
      'doc_to_text: ""',
      'doc_to_target: "{{text}}"',
      "metric_list:\n  - metric: word_perplexity\n  - metric: bits_per_byte",
    ],
  },
  gblr_texts: {
    rows: CHOICES,
    lines: [
      "output_type: generate_until",
      'doc_to_text: "{{question}}"',
      'doc_to_target: "{{choices[answer]}}"',
      'generation_kwargs:\n  until: ["zq"]\n  do_sample: false\n  max_gen_toks: 12',
      "metric_list:\n  - metric: exact_match",
    ],
  },
};

export const TASK_NAMES = Object.keys(TASKS);

/** Writes the task files and their data. */
export function writeTasks(folder: string): void {
  for (const [name, { rows, lines }] of Object.entries(TASKS)) {
    const data = path.join(folder, `${name}.jsonl`);
    writeFileSync(data, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const files = `dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: ${JSON.stringify(data)}\ntest_split: test`;
    writeFileSync(path.join(folder, `${name}.yaml`), `task: ${name}\n${files}\n${lines.join("\n")}\n`);
  }
}
