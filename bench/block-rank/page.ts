// The tables of bench/block-rank.ts as Markdown: means over all matrices by combination, and the error of each matrix.

import { mean } from "../../workbench/report/compare/repeats.ts";
import type { Speeds } from "./speed.ts";

/** A quantum and a block rank. */
export interface Combination {
  quantum: number;
  blockRank: number;
}

/** What a search found on one matrix. */
export interface Row extends Combination, Speeds {
  name: string;
  /** relative output error */
  error: number;
  /** the same over that of whitened low rank of the same cost */
  relative: number;
  /** multiply-adds over those of the dense matrix */
  share: number;
  /** number of live blocks of rank 1 */
  blocks: number;
  /** of the search */
  seconds: number;
}

/** All tables. */
export function page(rows: readonly Row[], combinations: readonly Combination[]): string {
  return [
    "| quantum | block rank | error over low rank | share | padding | speed, 512 rows | speed, 1 row |",
    "| ------: | ---------: | ------------------: | ----: | ------: | --------------: | -----------: |",
    ...combinations.map(({ quantum, blockRank }) => meansOf(rows, { quantum, blockRank })),
    "",
    `| quantum | block rank | ${namesOf(rows).map(short).join(" | ")} |`,
    `| ------: | ---------: | ${namesOf(rows)
      .map(() => "---:")
      .join(" | ")} |`,
    ...combinations.map((each) => errorsOf(rows, each)),
  ].join("\n");
}

const namesOf = (rows: readonly Row[]): string[] => [...new Set(rows.map(({ name }) => name))];
const short = (name: string): string => name.replace(/^.*layers\.(\d+)\..*\.(\w+)$/, "$1 $2");

const ofCombination = (rows: readonly Row[], { quantum, blockRank }: Combination): Row[] =>
  rows.filter((row) => row.quantum === quantum && row.blockRank === blockRank);

function meansOf(rows: readonly Row[], combination: Combination): string {
  const own = ofCombination(rows, combination);
  const of = (part: "relative" | "share" | "padding" | "many" | "one") => mean(own.map((row) => row[part]));
  const { quantum, blockRank } = combination;
  const share = `${(100 * of("share")).toFixed(1)} %`;
  const padding = `${(100 * (of("padding") - 1)).toFixed(1)} %`;
  const speeds = [of("many"), of("one")].map((speed) => speed.toFixed(2));
  return `| ${[quantum, blockRank, of("relative").toFixed(3), share, padding, ...speeds].join(" | ")} |`;
}

function errorsOf(rows: readonly Row[], combination: Combination): string {
  const own = ofCombination(rows, combination);
  const errors = namesOf(rows).map((name) => own.find((row) => row.name === name)?.relative.toFixed(3) ?? "–");
  return `| ${[combination.quantum, combination.blockRank, ...errors].join(" | ")} |`;
}
