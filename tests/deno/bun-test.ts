// What the engine tests use of bun:test, for Deno: its import map puts this file in bun:test's place. Runs tests in the
// order in which they are declared, one at a time, and counts.

import { format } from "node:util";
import { expect } from "expect";

export { expect };

type Body = () => void | Promise<void>;
interface Group {
  name: string;
  before: Body[];
  after: Body[];
  entries: (Group | { name: string; run: Body })[];
}

const root: Group = { name: "", before: [], after: [], entries: [] };
let current = root;

/** Declares a group of tests. */
export function describe(name: string, body: () => void): void {
  const group: Group = { name, before: [], after: [], entries: [] };
  current.entries.push(group);
  const outer = current;
  current = group;
  body();
  current = outer;
}

/** Declares a test. */
export function test(name: string, run: Body, _options?: unknown): void {
  current.entries.push({ name, run });
}

export const beforeAll = (body: Body): void => void current.before.push(body);
export const afterAll = (body: Body): void => void current.after.push(body);

const skip = (): void => undefined;
describe.skipIf = (condition: boolean) => (condition ? skip : describe);
test.skipIf = (condition: boolean) => (condition ? skip : test);

/** One test a row: its items are the arguments, and fill the name's %i, %s, … A row that is not an array is one argument. */
test.each =
  (rows: readonly unknown[]) =>
  (name: string, run: (...row: unknown[]) => void | Promise<void>): void => {
    for (const each of rows) {
      const row: readonly unknown[] = Array.isArray(each) ? each : [each];
      const places = name.match(/%[a-z]/g)?.length ?? 0;
      test(format(name, ...row.slice(0, places)), () => run(...row));
    }
  };

/** Runs all that was declared; prints what fails. */
export async function runDeclared(): Promise<{ passed: number; failed: number }> {
  const counts = { passed: 0, failed: 0 };
  await runGroup(root, [], counts);
  return counts;
}

async function runGroup(group: Group, path: string[], counts: { passed: number; failed: number }): Promise<void> {
  for (const prepare of group.before) await attempt(prepare, [...path, "before its tests"].join(" > "), counts);
  for (const entry of group.entries) {
    const name = [...path, entry.name];
    if ("entries" in entry) await runGroup(entry, name, counts);
    else if (await attempt(entry.run, name.join(" > "), counts)) counts.passed++;
  }
  for (const finish of group.after) await attempt(finish, [...path, "after its tests"].join(" > "), counts);
}

/** Runs a test, or what comes before or after tests: false, counted and printed, if it fails. */
async function attempt(run: Body, name: string, counts: { failed: number }): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    counts.failed++;
    const { message, stack = message } = error as Error;
    console.log(`failed: ${name}\n  ${stack.split("\n").join("\n  ")}`);
    return false;
  }
}
