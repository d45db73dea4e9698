// The own settings of a variant, such as `+quantum=8+sequential` in flags: parses and checks them, and names them in titles
// and in folder names.

import type { Init } from "../compress/index.ts";
import { type ExperimentSettings, experimentShape, isCompressionSetting } from "./settings.ts";
import { SettingsError } from "./stage.ts";

/** Settings of a variant that differ from those of the experiment. */
export type VariantSettings = Readonly<Partial<ExperimentSettings>>;

const SHAPE = experimentShape("items");
type SettingName = keyof typeof SHAPE;

/** Settings of the compression that variants and rows have by other names, or that cannot differ. */
const NAMED_OTHERWISE = ["structure", "compare", "widths", "flops", "budget", "allocate", "init"];
/** Settings of the block search of GBLR. */
const OF_SEARCH = ["quantum", "blockRank", "stableBlocks"];
/** Settings of GBLR's widths, of the training too. */
const OF_WIDTHS = [...OF_SEARCH, "maskSigma", "shrink", "structureLearningRate"];
const ALL = Object.keys(SHAPE) as SettingName[];

/** Names of the settings of the compression without those that variants and rows have by other names. */
export const COMPRESSION_OPTIONS: readonly SettingName[] = ALL.filter(
  (name) => isOfCompression(name) && !NAMED_OTHERWISE.includes(name),
);
const NAMES = ALL.filter((name) => COMPRESSION_OPTIONS.includes(name) || OF_WIDTHS.includes(name) || isSeed(name));

/**
 * Whether a setting is a seed. Rows that differ only in seeds are repetitions, and have the same title.
 * @param name of the setting or of its flag, such as `calibrationSeed` or `calibration-seed`
 */
export function isSeed(name: string): boolean {
  return /(^s|S|-s)eed$/.test(name);
}

/** Whether a setting is one of the compression, and not of the training. */
export function isOfCompression(name: string): boolean {
  return isCompressionSetting(SHAPE[name as SettingName]);
}

/** A variant, for messages and checks. */
interface Place {
  /** the whole variant as it was given */
  text: string;
  structure: string;
  init: Init;
  hasWidths: boolean;
}

/**
 * Parses settings.
 * @param settings each `name=value`, or `name` for one that is switched on; names as in flags, parts of lists with `/`
 *   between them
 * @throws SettingsError for a setting that the variant cannot have, or a value that it cannot take
 */
export function parseOwn(settings: readonly string[], place: Place): VariantSettings {
  return Object.fromEntries(settings.map((setting) => parseSetting(setting, place)));
}

function parseSetting(setting: string, { text, structure, init, hasWidths }: Place): [SettingName, unknown] {
  const [flag, value, ...rest] = setting.split("=");
  const name = NAMES.find((known) => wordsOf(known, "-") === flag);
  if (name === undefined || rest.length > 0) {
    const known = NAMES.map((each) => wordsOf(each, "-")).join(", ");
    throw new SettingsError(`"${text}" has a setting "${setting}"; give +name=value with one of ${known}`);
  }
  if (OF_WIDTHS.includes(name) && !hasWidths) {
    throw new SettingsError(`"${text}" has a setting of widths, but ${structure} has none; leave it out`);
  }
  const found = readings(value)
    .map((each) => SHAPE[name].safeParse(each))
    .find(({ success }) => success);
  if (!found || value === "") {
    throw new SettingsError(`"${text}": ${flag} cannot be "${value ?? ""}"; see --${flag}`);
  }
  if (OF_SEARCH.includes(name) && init !== "search") {
    throw new SettingsError(`"${text}" has a setting "${flag}", which only a search has; give ${structure}:search`);
  }
  return [name, found.data];
}

const SWITCHES: Readonly<Record<string, boolean>> = { true: true, false: false };

/** The values that a text may stand for. The schema of a setting accepts the one of its type. */
const readings = (value: string | undefined): unknown[] =>
  value === undefined
    ? [true]
    : [value, Number(value), ...(value in SWITCHES ? [SWITCHES[value]] : []), value.split("/")];

/** `reorder-units` or `reorder units` of `reorderUnits`. */
const wordsOf = (name: string, between: string): string =>
  name.replace(/[A-Z]/g, (capital) => between + capital.toLowerCase());

const textOf = (value: unknown): string => (Array.isArray(value) ? value.join("/") : String(value));

/** The parts that settings add to the name of a folder: `quantum-8`, `no-sequential`. */
export function keyParts(own: VariantSettings): string[] {
  return Object.entries(own).map(([name, value]) => {
    const words = wordsOf(name, "-");
    if (typeof value === "boolean") return value ? words : `no-${words}`;
    return `${words}-${textOf(value).replace(/[^\w.-]/g, "_")}`;
  });
}

/** Shorter names in titles. */
const TITLES: Readonly<Record<string, string>> = { maskSigma: "σ", structureLearningRate: "rate of widths" };

/**
 * The parts of a title that name settings. Settings with their default value are left out.
 * @param settings of the variant
 * @param names the settings that may be named
 */
export function titleParts(settings: VariantSettings, names: Iterable<string>): string[] {
  return ([...names] as SettingName[]).flatMap((name) => {
    const [value, usual] = [settings[name], SHAPE[name].safeParse(undefined).data];
    if (isSeed(name) || JSON.stringify(value) === JSON.stringify(usual)) return [];
    const words = TITLES[name] ?? wordsOf(name, " ");
    if (typeof value === "boolean") return value ? [words] : [`not ${words}`];
    return [`${words} ${textOf(value)}`];
  });
}
