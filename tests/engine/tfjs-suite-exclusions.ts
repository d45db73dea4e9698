// Reads the list of tests of the TensorFlow.js suite that the torch engine leaves out, from a markdown list in which
// each entry gives the full name of a test in backticks, then the reason. It does not run anything.

import { readFileSync } from "node:fs";

export interface Exclusion {
  /** the test's full name without the part that names the environment */
  test: string;
  reason: string;
}

/**
 * @param markdown list entries of the form "- `name of the test`: reason"; names that hold a backtick stand in two
 * @throws Error naming the line that gives no name or no reason, or a name that was given before
 */
export function parseExclusions(markdown: string): Exclusion[] {
  const exclusions: Exclusion[] = [];
  const seen = new Set<string>();
  for (const [index, line] of markdown.split("\n").entries()) {
    if (!/^[-*] /.test(line)) {
      continue;
    }
    const entry = /^[-*] (`+)(.+?)\1(?!`)[\s:—–-]*(.*)$/.exec(line);
    const test = entry?.[2]?.trim();
    const reason = entry?.[3]?.trim();
    if (!test || !reason) {
      throw new Error(`exclusions, line ${index + 1}: expected "- \`full name of the test\`: reason", got "${line}"`);
    }
    if (seen.has(test)) {
      throw new Error(`exclusions, line ${index + 1}: "${test}" is listed twice`);
    }
    seen.add(test);
    exclusions.push({ test, reason });
  }
  return exclusions;
}

/** The list beside this file; empty when there is none. */
export function readExclusions(): Exclusion[] {
  const path = new URL("./tfjs-suite-exclusions.md", import.meta.url);
  try {
    return parseExclusions(readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return [];
    }
    throw error;
  }
}
