// Runs the cases on the contestants and reduces the samples to medians and ratios. Contestants are interleaved (A B A B
// …), so that other load on the machine affects all of them alike. Prints progress only.

import { median } from "../../workbench/engine/core/measure.ts";
import { type NamedCase, TRAINING } from "./cases.ts";
import { type Contestant, Running } from "./contestant.ts";
import type { About, Faults } from "./protocol.ts";

export interface Effort {
  /** samples of each contestant on each case */
  rounds: number;
  /** a sample repeats its call to last about this long, in seconds */
  seconds: number;
  /** seconds of calls before the first sample */
  warmUp: number;
}

export const FULL: Effort = { rounds: 15, seconds: 0.1, warmUp: 0.5 };
export const QUICK: Effort = { rounds: 3, seconds: 0.02, warmUp: 0.2 };

/** Seconds after which a contestant stops sampling a case, but not before three samples. */
const PATIENCE = 8;
const FEWEST_ROUNDS = 3;
/** OpenBLAS's and OpenMP's threads spin for about 30 ms after their work, on cores that the next contestant needs. */
const REST_MILLISECONDS = 60;

export interface CaseResult {
  title: string;
  /** seconds per operation by contestant, in the order of the samples; empty if the contestant cannot run the case */
  samples: Record<string, number[]>;
  /** contestants that failed on the case, and how */
  failures: Record<string, string>;
}

/** Starts all contestants; those that do not start are left out, with the reason. */
export async function startAll(contestants: readonly Contestant[]): Promise<{
  running: Running[];
  abouts: Record<string, About>;
  absent: Record<string, string>;
}> {
  const running: Running[] = [];
  const abouts: Record<string, About> = {};
  const absent: Record<string, string> = {};
  for (const contestant of contestants) {
    const process = new Running(contestant);
    try {
      abouts[contestant.name] = await process.about();
      running.push(process);
    } catch (error) {
      absent[contestant.name] = messageOf(error);
    }
  }
  return { running, abouts, absent };
}

export async function runCase(named: NamedCase, everyone: readonly Running[], effort: Effort): Promise<CaseResult> {
  const result: CaseResult = { title: named.title, samples: {}, failures: {} };
  const ready: Running[] = [];
  for (const running of everyone) {
    const { name, smallOnly } = running.contestant;
    if (smallOnly && !named.small) continue;
    try {
      if ((await running.prepare(named.case, effort)) !== undefined) continue;
      result.samples[name] = [];
      ready.push(running);
    } catch (error) {
      result.failures[name] = messageOf(error);
    }
  }
  for (let round = 0; round < effort.rounds; round++) {
    for (const running of ready) await sampleOnce(running, result);
  }
  for (const running of ready) await running.release();
  return result;
}

async function sampleOnce(running: Running, { samples, failures }: CaseResult): Promise<void> {
  const { name } = running.contestant;
  const taken = samples[name] ?? [];
  const spent = taken.reduce((sum, each) => sum + each, 0);
  if (name in failures || (spent > PATIENCE && taken.length >= FEWEST_ROUNDS)) return;
  await new Promise((resolve) => setTimeout(resolve, REST_MILLISECONDS));
  try {
    taken.push(await running.sample());
  } catch (error) {
    failures[name] = messageOf(error);
  }
}

/** Median of a contestant's samples; undefined where it has none. */
export function medianOf({ samples }: CaseResult, name: string): number | undefined {
  const taken = samples[name];
  return taken === undefined || taken.length === 0 ? undefined : median(taken);
}

/** Median over the rounds of the ratio of two contestants' times in the same round; above 1 the first is slower. */
export function ratioOf({ samples }: CaseResult, name: string, against: string): number | undefined {
  const others = samples[against] ?? [];
  const ratios = (samples[name] ?? []).flatMap((seconds, round) => {
    const other = others[round];
    return other === undefined ? [] : [seconds / other];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

/** Page faults of the first steps of a training loop, in fresh processes. */
export async function countFaults(
  contestants: readonly Contestant[],
  steps: number,
): Promise<Record<string, Faults | { failure: string }>> {
  const results: Record<string, Faults | { failure: string }> = {};
  for (const contestant of contestants) {
    const fresh = new Running(contestant);
    results[contestant.name] = await fresh.faults(TRAINING, steps).catch((error) => ({ failure: messageOf(error) }));
    await fresh.close();
  }
  return results;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
