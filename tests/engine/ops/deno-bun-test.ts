// As much of bun:test as the op tests use, for Deno: bun has no WebGPU, so that on webgpu they run there. `run()` runs
// what was declared, one test after the other.

import assert from "node:assert/strict";
import process from "node:process";

type Body = () => void | Promise<void>;

interface Group {
  name: string;
  before: Body[];
  after: Body[];
  tests: { name: string; body: Body }[];
}

const groups: Group[] = [];
let open: Group | undefined;

export function describe(name: string, declare: () => void): void {
  open = { name, before: [], after: [], tests: [] };
  groups.push(open);
  declare();
  open = undefined;
}

const group = (): Group => {
  assert(open, "declare tests within describe");
  return open;
};

export const test = (name: string, body: Body): void => void group().tests.push({ name, body });
export const beforeAll = (body: Body): void => void group().before.push(body);
export const afterAll = (body: Body): void => void group().after.push(body);

/** Runs every test declared so far; the exit code tells whether all passed. */
export async function run(): Promise<void> {
  let [passed, failed] = [0, 0];
  for (const { name, before, after, tests } of groups) {
    for (const body of before) {
      await body();
    }
    for (const each of tests) {
      try {
        await each.body();
        passed++;
      } catch (error) {
        failed++;
        console.log(`(fail) ${name} > ${each.name}\n${error instanceof Error ? error.stack : error}`);
      }
    }
    for (const body of after) {
      await body();
    }
  }
  console.log(`ops under Deno: ${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function thrownBy(call: unknown): Error {
  let thrown: unknown;
  try {
    (call as () => void)();
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof Error, "expected an error, got none");
  return thrown;
}

export function expect(actual: unknown) {
  const number = actual as number;
  return {
    toBe: (expected: unknown) => assert.equal(actual, expected),
    toEqual: (expected: unknown) => assert.deepEqual(actual, expected),
    toBeGreaterThan: (limit: number) => assert(number > limit, `expected more than ${limit}, got ${actual}`),
    toBeLessThan: (limit: number) => assert(number < limit, `expected less than ${limit}, got ${actual}`),
    toBeLessThanOrEqual: (limit: number) => assert(number <= limit, `expected at most ${limit}, got ${actual}`),
    toBeCloseTo: (expected: number, digits: number) =>
      assert(Math.abs(number - expected) < 0.5 * 10 ** -digits, `expected ${expected}, got ${actual}`),
    toBeInstanceOf: (kind: new (...given: never[]) => unknown) =>
      assert(actual instanceof kind, `expected a ${kind.name}, got ${actual}`),
    toThrow: (pattern: RegExp) => assert.match(thrownBy(actual).message, pattern),
    not: { toEqual: (expected: unknown) => assert.notDeepEqual(actual, expected) },
  };
}
