// What a script does that is a rank: it answers the task of its first argument and ends, or each one that its input brings.

import process from "node:process";
import { createInterface } from "node:readline";
import { placeOf } from "../../workbench/distributed/place.ts";
import { type JoinOptions, ProcessGroup } from "../../workbench/distributed/process-group.ts";
import { environment } from "./start.ts";

let group: ProcessGroup | undefined;

/** Joins the other ranks of the task; undefined in a process that is no rank. */
export async function join(timeout: number, options: JoinOptions = {}): Promise<ProcessGroup | undefined> {
  const place = placeOf(process.env);
  group = place && (await ProcessGroup.join(place, { timeout, ...options }));
  return group;
}

/** Answers each task with a line. Ends with the first one that fails. */
export async function reply<Task>(answerTo: (task: Task) => Promise<unknown>): Promise<never> {
  const [, , only] = process.argv;
  if (only !== undefined) await answer(answerTo(JSON.parse(only)));
  else {
    for await (const line of createInterface(process.stdin)) {
      const { task, launcher } = JSON.parse(line);
      for (const name of Object.keys(environment(0, 0, 0))) delete process.env[name];
      Object.assign(process.env, launcher);
      await answer(answerTo(task));
      group?.leave();
      group = undefined;
    }
  }
  process.exit(0);
}

async function answer(given: Promise<unknown>): Promise<void> {
  const [text, code] = await given.then(
    (found) => [found, 0] as const,
    (error: Error) => [{ error: error.message }, 3] as const,
  );
  // A long answer is in the pipe only when this ends.
  await new Promise((done) => process.stdout.write(`${JSON.stringify(text)}\n`, done));
  if (code !== 0) process.exit(code);
}
