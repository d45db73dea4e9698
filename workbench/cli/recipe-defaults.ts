// What of a recipe's settings still stands when a flag says otherwise: some of them belong to what the flag replaces, and go
// with it. Which flags there are is settings.ts's.

import { SCRATCH_SETTINGS, scratchName } from "../pipeline/scratch-model.ts";

/** Defaults that say something of what a flag names otherwise: they go with what they belong to. */
const BELONG: readonly { flag: string; unless?: (value: string) => boolean; settings: readonly string[] }[] = [
  { flag: "dataset", settings: ["config"] },
  { flag: "structure", unless: (value) => value === "gblr", settings: ["init"] },
  { flag: "shrink", settings: ["threshold", "startThreshold", "approach", "freeze", "target", "startCost"] },
  { flag: "flops", settings: ["budget"] },
  { flag: "budget", settings: ["flops"] },
  { flag: "epochs", settings: ["decayEpochs", "sigmaEpochs"] },
  { flag: "steps", settings: ["decayEpochs", "sigmaEpochs"] },
  { flag: "randAugment", settings: ["autoAugment", "colorJitter"] },
  { flag: "autoAugment", settings: ["randAugment", "colorJitter"] },
  { flag: "colorJitter", settings: ["randAugment", "autoAugment"] },
  {
    flag: "model",
    unless: (value) => scratchName(value) !== undefined,
    // Wide blocks at one place under smooth masks are for learning from nothing; how images are prepared a model that has
    // learned says itself.
    settings: [...SCRATCH_SETTINGS, "widths", "locations", "sigma", "sigmaEpochs", "crop", "cropMode", "interpolation"],
  },
];

/** Rules that let the cost drift from where it began. */
const DRIFTING = ["mean", "soft", "targeted", "adaptive"];

/** What a recipe says stands where no flag says otherwise. A cost that a flag asks for is held, by the rule that holds it. */
export function defaultsFor<Defaults extends object>(
  { defaults }: { defaults?: Defaults },
  flags: Readonly<Record<string, unknown>>,
): Partial<Defaults> {
  const gone = BELONG.filter(({ flag, unless }) => flags[flag] !== undefined && !unless?.(String(flags[flag])));
  const names = gone.flatMap(({ settings }) => settings);
  const entries = Object.entries({ ...defaults });
  const left = Object.fromEntries(entries.filter(([name]) => !names.includes(name)));
  const asksCost = flags.budget !== undefined || flags.flops !== undefined;
  if (!asksCost || flags.shrink !== undefined || !DRIFTING.includes(left.shrink as string))
    return left as Partial<Defaults>;
  const { threshold: _, target: __, ...others } = left;
  return { ...others, shrink: "budget" } as object as Partial<Defaults>;
}
