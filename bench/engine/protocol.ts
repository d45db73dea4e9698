// The line protocol between the bench and its contestants. Each contestant is a separate process that reads one JSON
// request and writes one JSON answer for each line. Separate processes do not share thread pools and allocators, and
// let the bench interleave contestants in different languages.

import process from "node:process";
import { createInterface } from "node:readline";
import type { Case } from "./cases.ts";

export type Request =
  | { do: "about" }
  /** builds the operands of a case */
  | { do: "prepare"; case: Case }
  /** seconds for `calls` calls, the device's queue drained before and after */
  | { do: "time"; calls: number }
  /** minor page faults of each of `calls` calls, then the bytes that the allocator holds */
  | { do: "faults"; calls: number }
  | { do: "release" };

export interface About {
  /** library and version */
  version: string;
  device: string;
  threads: number;
}
export interface Faults {
  faults: number[];
  /** bytes in live tensors and kept for reuse, if the contestant reports them */
  held?: number;
}
export type Answer =
  | About
  | Faults
  | { seconds: number }
  | { done: true }
  | { unsupported: string }
  | { error: string };

export interface Service {
  about(): About | Promise<About>;
  /** why the case cannot run here, or nothing */
  prepare(of: Case): Promise<string | undefined> | string | undefined;
  time(calls: number): Promise<number> | number;
  faults(calls: number): Promise<Faults>;
  release(): void;
}

/** Serves requests until stdin closes. */
export async function serve(service: Service): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer: Answer;
    try {
      answer = await answerTo(service, JSON.parse(line) as Request);
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}

async function answerTo(service: Service, request: Request): Promise<Answer> {
  switch (request.do) {
    case "about":
      return service.about();
    case "prepare": {
      const unsupported = await service.prepare(request.case);
      return unsupported === undefined ? { done: true } : { unsupported };
    }
    case "time":
      return { seconds: await service.time(request.calls) };
    case "faults":
      return service.faults(request.calls);
    case "release":
      service.release();
      return { done: true };
  }
}
