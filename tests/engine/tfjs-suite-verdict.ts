// Compares the outcomes of the TensorFlow.js suite with the list of tests that are left out: which failures are not
// listed, and which entries of the list are out of date. Runs nothing, prints nothing.

import type { Exclusion } from "./tfjs-suite-exclusions.ts";
import type { Outcome } from "./tfjs-suite-run.ts";

export interface Verdict {
  passed: number;
  /** failures that the list does not allow */
  failures: Outcome[];
  /** failures that it does */
  excluded: number;
  /** tests that the suite itself leaves out */
  skipped: number;
  /** entries of the list that name a test which passes */
  needless: string[];
  /** entries that name no test of the suite; not looked for when only a part of it ran */
  unknown: string[];
}

export interface Scope {
  /** only a part of the suite ran */
  partial: boolean;
  /** the list was written for this engine: its entries must be needed */
  own: boolean;
}

export function judge(outcomes: readonly Outcome[], exclusions: readonly Exclusion[], scope: Scope): Verdict {
  const names = new Set(exclusions.map(({ test }) => test));
  const failed = outcomes.filter(({ status }) => status === "failed");
  const ran = new Set(outcomes.map(({ test }) => test));
  const broken = new Set(failed.map(({ test }) => test));
  const failures = failed.filter(({ test }) => !names.has(test));
  return {
    passed: outcomes.filter(({ status }) => status === "passed").length,
    failures,
    excluded: failed.length - failures.length,
    skipped: outcomes.filter(({ status }) => status === "skipped").length,
    needless: scope.own ? [...names].filter((test) => ran.has(test) && !broken.has(test)) : [],
    unknown: scope.partial ? [] : [...names].filter((test) => !ran.has(test)),
  };
}
