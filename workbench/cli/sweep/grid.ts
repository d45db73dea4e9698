// The runs of a sweep: every combination of the values that settings are varied over, each with its flags and the name of
// its folder. Runs nothing.

import { UsageError } from "../program.ts";
import { flagOf } from "../settings.ts";

export interface Varied {
  /** as flags have it, e.g. `learning-rate` */
  setting: string;
  values: readonly string[];
}

export interface GridPoint {
  /** by setting */
  values: Readonly<Record<string, string>>;
  /** of the folder, e.g. `budget-0.2+structure-gblr` */
  key: string;
  /** of the command line */
  flags: readonly string[];
}

/** @param text `budget=0.125,0.2` @throws UsageError when it is not such a thing */
export function parseVaried(text: string): Varied {
  const at = text.indexOf("=");
  const setting = flagOf(text.slice(0, Math.max(0, at)).trim().replace(/^--/, "")).slice(2);
  const values = text
    .slice(at + 1)
    .split(",")
    .map((value) => value.trim());
  if (at < 1 || setting === "" || values.some((value) => value === "")) {
    throw new UsageError(`--vary ${text}: give a setting and its values, e.g. --vary budget=0.125,0.2`);
  }
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined) throw new UsageError(`--vary ${text}: ${twice} is there twice`);
  if (setting === "run") throw new UsageError("--vary run: each run of a sweep has a folder of its own below --out");
  return { setting, values };
}

/** The last setting changes fastest. @throws UsageError when a setting is varied twice */
export function gridOf(varied: readonly Varied[]): GridPoint[] {
  const names = varied.map(({ setting }) => setting);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`--vary ${twice} is there twice; give all its values at once`);
  let points: Record<string, string>[] = [{}];
  for (const { setting, values } of varied) {
    points = points.flatMap((point) => values.map((value) => ({ ...point, [setting]: value })));
  }
  return points.map((values) => {
    const entries = Object.entries(values);
    return {
      values,
      key: entries.map(([setting, value]) => `${setting}-${value.replace(/[^\w.-]/g, "_")}`).join("+"),
      flags: entries.map(([setting, value]) => `--${setting}=${value}`),
    };
  });
}

/** `budget 0.2, structure gblr` */
export const pointText = ({ values }: Pick<GridPoint, "values">): string =>
  Object.entries(values)
    .map(([setting, value]) => `${setting} ${value}`)
    .join(", ");
