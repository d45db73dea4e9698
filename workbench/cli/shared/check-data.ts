// The data of --check: its options, its settings, and what was measured on it as text.

import type { Command } from "commander";
import { valueText } from "../../../hub/card/comparison.ts";
import type { CheckSettings, OpenCheck } from "../../pipeline/check/open-check.ts";
import type { Scored } from "../../pipeline/domains/domain.ts";
import { countFrom } from "./options.ts";
import { UsageError } from "./program.ts";
import { flagOf } from "./settings.ts";

/** The parsed options of --check and its data. */
export interface CheckFlags {
  check?: string;
  checkConfig?: string;
  checkSplit?: string;
  checkColumn?: string;
  checkEncoding?: string;
  checkSamples?: number;
  checkContext?: number;
}

/** Options that say how the data set of --check is read. */
const CHECK_DETAILS = [
  "checkConfig",
  "checkSplit",
  "checkColumn",
  "checkEncoding",
  "checkSamples",
  "checkContext",
] as const;

/** Adds the options for the data set of a check. @param purpose what is measured on it */
export function addCheckData(command: Command, purpose: string): Command {
  return command
    .option("--check <dataset>", `${purpose} on this data set: a folder or owner/name[@revision]`)
    .option("--check-config <name>", "configuration of the data set (default: its only or default configuration)")
    .option("--check-split <name>", "split to check on (default: test)")
    .option("--check-column <name>", "column with the text or the images (default: text; image or img)")
    .option("--check-encoding <name>", "encoding of text files, such as windows-1252 (default: utf-8)")
    .option("--check-samples <count>", "windows or images to check on, from the start (default: all)", countFrom(1))
    .option(
      "--check-context <tokens>",
      "tokens per window (default: the model's positions, at most 2048)",
      countFrom(1),
    );
}

/** @throws UsageError if there is a detail of the data set, but no data set */
export function expectCheckData(options: CheckFlags): void {
  expectDataset("check", CHECK_DETAILS, options);
}

/** Checks that a data set is given where one of its details is. @throws UsageError that names the detail */
export function expectDataset<Options extends object>(
  dataset: keyof Options & string,
  details: readonly (keyof Options & string)[],
  options: Options,
): void {
  const detail = details.find((name) => options[name] !== undefined);
  if (options[dataset] === undefined && detail) {
    throw new UsageError(`${flagOf(detail)} needs ${flagOf(dataset)}; give a data set`);
  }
}

/** The data set of a check; undefined without --check. */
export function checkSettingsOf(options: CheckFlags): CheckSettings | undefined {
  const { check: dataset, checkConfig: config, checkColumn: column, checkEncoding: encoding } = options;
  if (dataset === undefined) return undefined;
  const { checkSplit: split = "test", checkSamples: samples, checkContext: context } = options;
  return { dataset, config, split, column, encoding, samples, context };
}

/** The data set of a check, for people. */
export const dataOf = ({ dataset, split }: OpenCheck): string =>
  [dataset.name, dataset.config, split].filter((part) => part !== undefined).join(", ");

/** What was measured of two models, as a line of text. */
export function comparedLine(check: OpenCheck, before: Scored, after: Scored): string {
  const { metric, label, increase, text } = check.measure;
  const [was, is] = [before, after].map(({ metrics }) => valueText(metric, metrics[metric] as number));
  return `check on ${dataOf(check)}: ${label} ${was} → ${is} (${text(increase(before, after))})`;
}
