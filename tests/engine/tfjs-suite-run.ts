// Runs TensorFlow.js's own tests under jasmine, on a backend that is registered already, and collects each outcome.
// Which outcomes are acceptable is not decided here.

import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import { registerGradients } from "../../workbench/engine/tfjs/gradients.ts";

export interface Outcome {
  /** the test's full name without the part that names the environment, the form in which exclusions name it */
  test: string;
  status: "passed" | "failed" | "skipped";
  /** first line of the first error of a failed test */
  error?: string;
}

/** The part of jasmine 3.99 that is used here; it ships no types. */
interface Spec {
  fullName: string;
  status: string;
  failedExpectations: { message: string }[];
}
interface JasmineEnv {
  addReporter(reporter: { specDone(spec: Spec): void; suiteDone(suite: Spec): void }): void;
  configure(options: { random: boolean; specFilter(spec: { getFullName(): string }): boolean }): void;
  execute(): Promise<unknown>;
}
interface JasmineCore {
  boot(jasmine: unknown): { getEnv(): JasmineEnv };
}

export interface RunOptions {
  backendName: string;
  /** only tests whose full name holds this */
  grep?: string;
  /** leave what the tests print on the console; default false */
  loud?: boolean;
}

/** `conv2d torch {} x=[1,2]` is `conv2d x=[1,2]`: the suite puts the environment after the name of each group. */
function withoutEnvironment(fullName: string, backendName: string): string {
  return fullName.replace(` ${backendName} {}`, "");
}

function firstLine(spec: Spec): string {
  return spec.failedExpectations[0]?.message.split("\n")[0]?.slice(0, 300) ?? "no message";
}

function silence(): () => void {
  const { log, info, warn, error } = console;
  Object.assign(console, { log: () => {}, info: () => {}, warn: () => {}, error: () => {} });
  return () => Object.assign(console, { log, info, warn, error });
}

/** @returns one outcome for each test that `grep` lets through, and one for each group whose set-up or clean-up failed */
export async function runSuite(options: RunOptions): Promise<Outcome[]> {
  const { backendName, grep = "", loud = false } = options;
  const core = createRequire(import.meta.url)("jasmine-core") as JasmineCore;
  const jasmine = core.boot(core).getEnv();
  await registerGradients();
  // The tests load a second copy of the package over the same global state, which would announce itself.
  tf.env().set("IS_TEST", true);
  const { setTestEnvs } = await import("@tensorflow/tfjs-core/dist/jasmine_util.js");
  setTestEnvs([{ name: backendName, backendName, isDataSync: true }]);
  // Only now: the tests are declared while this is being imported, once for each environment known at that time.
  const tests = "@tensorflow/tfjs-core/dist/tests.js";
  await import(tests);

  const outcomes: Outcome[] = [];
  const selected = (spec: { getFullName(): string }) => spec.getFullName().includes(grep);
  jasmine.configure({ random: false, specFilter: selected });
  jasmine.addReporter({
    specDone(spec) {
      const test = withoutEnvironment(spec.fullName, backendName);
      if (spec.status === "passed") {
        outcomes.push({ test, status: "passed" });
      } else if (spec.status === "failed") {
        outcomes.push({ test, status: "failed", error: firstLine(spec) });
      } else if (spec.status === "pending") {
        outcomes.push({ test, status: "skipped" });
      }
    },
    suiteDone(suite) {
      if (suite.failedExpectations.length > 0) {
        const test = `${withoutEnvironment(suite.fullName, backendName)} (set-up)`;
        outcomes.push({ test, status: "failed", error: firstLine(suite) });
      }
    },
  });
  const restore = loud ? () => {} : silence();
  try {
    await jasmine.execute();
  } finally {
    restore();
  }
  return outcomes;
}
