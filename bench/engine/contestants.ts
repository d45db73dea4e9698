// The contestants of the engine bench that this machine has: our engines, PyTorch if a python3 has it, and OpenBLAS
// called directly. Finds them by starting them; installs nothing.

import { execFileSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { EngineName, Precision } from "../../workbench/engine/core/types.ts";
import type { Contestant } from "./contestant.ts";

export interface Setting {
  device: string;
  precision: Precision;
  threads: number;
  /** a Python to ask for PyTorch before the usual ones */
  python?: string;
}

const PYTHONS = ["python3", "/usr/bin/python3"] as const;

/** `torch` is the first, because ratios are relative to it. */
export function findContestants(setting: Setting): Contestant[] {
  const { device, precision, threads } = setting;
  const python = findPython(setting.python);
  const common = ["--device", device, "--precision", precision, "--threads", String(threads)];
  const contestants = [engine("torch", common)];
  if (python !== undefined) {
    contestants.push({ name: "PyTorch", command: python, args: [besides("../engine_torch.py"), ...common] });
  }
  const onProcessor = ["--device", "cpu", "--precision", "float32", "--threads", String(threads)];
  if (device === "cpu") {
    const args = [besides("openblas.ts"), String(threads)];
    contestants.push({ name: "OpenBLAS", command: process.execPath, args });
  }
  contestants.push(engine("wasm", onProcessor), { ...engine("cpu", onProcessor), smallOnly: true });
  return contestants;
}

function engine(name: EngineName, args: readonly string[]): Contestant {
  return { name, command: process.execPath, args: [besides("worker.ts"), "--engine", name, ...args] };
}

function findPython(asked: string | undefined): string | undefined {
  const candidates = asked === undefined ? PYTHONS : [asked];
  return candidates.find((python) => {
    try {
      execFileSync(python, ["-c", "import torch"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}

function besides(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
