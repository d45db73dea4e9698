// What `gblr doctor` found, as plain data: printed by print.ts, and by --json as it stands.

import type { BlasReport } from "../../engine/backends/torch/blas.ts";
import type { Bandwidth, MatMulRate } from "../../engine/core/measure.ts";
import type { EngineName, OpenEngineOptions, Precision, Probe } from "../../engine/core/types.ts";

export interface Machine {
  runtime: { name: string; version: string };
  /** distribution or product name, e.g. `Debian GNU/Linux 12 (bookworm)` */
  system: string;
  kernel: string;
  architecture: string;
  cpu: string;
  /** that this process may run on */
  cores: number;
  /** bytes */
  memory: number;
}

export interface HubSettings {
  endpoint: string;
  /** where the token comes from; the token itself is never part of a report */
  token: { set: boolean; source?: string };
  /** cache folder, HF_HOME */
  home: string;
}

/** An engine that opened and was measured. */
export interface Measured {
  engine: EngineName;
  device: string;
  precision: Precision;
  threads: number;
  /** why this engine, in its own words */
  why: string;
  matMul: MatMulRate;
  elementwise: Bandwidth;
}

export type Outcome = { measured: Measured } | { error: string };

export interface EngineReport {
  name: EngineName;
  probe: Probe;
  /** absent when the engine is unavailable or was not asked for */
  outcome?: Outcome;
}

export interface Report {
  /** version of this package */
  gblr: string;
  machine: Machine;
  requested: OpenEngineOptions;
  engines: EngineReport[];
  /** what the torch engine multiplies with on the CPU; absent where that engine was not measured there */
  blas?: BlasReport | { error: string };
  /** what `requested` opened, or why it could not */
  opened: Outcome;
  hub: HubSettings;
}
