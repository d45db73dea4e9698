// The options of a variant: settings of the compression in which it differs from the experiment, such as
// `+sequential+reorder=energy` in flags. They are parsed and checked here, and named in titles and in folder names.

import { type ExperimentSettings, experimentShape, type SettingMeta } from "./settings.ts";
import { SettingsError } from "./stage.ts";

/** Settings of a variant that differ from those of the experiment. */
export type VariantSettings = Readonly<Partial<ExperimentSettings>>;

/** Settings of the compression that a variant names otherwise, or that cannot differ. */
const NAMED_OTHERWISE = ["structure", "compare", "widths", "flops", "budget", "allocate", "init"];
const SHAPE = experimentShape("items");
const NAMES = Object.entries(SHAPE).flatMap(([name, schema]) => {
  const { group } = (schema.meta() ?? {}) as Partial<SettingMeta>;
  return (group === "Compression" && !NAMED_OTHERWISE.includes(name)) || isSeed(name) ? [name as SettingName] : [];
});
type SettingName = keyof typeof SHAPE;

/** Whether a setting is a seed. Rows that differ only in seeds are repetitions, and have the same title. */
export function isSeed(name: string): boolean {
  return /(^s|S)eed$/.test(name);
}

/**
 * Parses options.
 * @param texts each `name=value`, or `name` for a setting that is switched on; names as in flags, lists with `/`
 * @param of the whole variant, for messages
 * @throws SettingsError for an unknown name or an invalid value
 */
export function parseOptions(texts: readonly string[], of: string): VariantSettings {
  return Object.fromEntries(texts.map((text) => parseOption(text, of)));
}

function parseOption(text: string, of: string): [SettingName, unknown] {
  const [flag = "", ...values] = text.split("=");
  const name = NAMES.find((known) => flagWords(known, "-") === flag);
  if (name === undefined) {
    const known = NAMES.map((each) => flagWords(each, "-")).join(", ");
    throw new SettingsError(`"${of}" has the unknown option "${flag}"; give one of ${known}`);
  }
  const value = values.length === 0 ? true : values.join("=");
  const read = readings(value).map((each) => SHAPE[name].safeParse(each));
  const found = read.find(({ success }) => success);
  if (found) return [name, found.data];
  const [problem] = read.map(({ error }) => error?.issues[0]?.message);
  throw new SettingsError(`option ${flag} of "${of}" cannot be ${value}: ${problem}`);
}

const SWITCHES: Readonly<Record<string, boolean>> = { true: true, false: false };

/** What a text may mean; the schema of the setting takes the one of its type. */
const readings = (value: string | true): unknown[] =>
  value === true ? [true] : [value, value.trim() === "" ? undefined : Number(value), SWITCHES[value], value.split("/")];

/** `reorder-units` or, for titles, `reorder units` of `reorderUnits`. */
const flagWords = (name: string, between: string): string =>
  name.replace(/[A-Z]/g, (capital) => between + capital.toLowerCase());

const textOf = (value: unknown): string => (Array.isArray(value) ? value.join("/") : String(value));

/** The parts that options add to the name of a folder: `reorder-energy`, `no-sequential`. */
export function keyParts(options: VariantSettings): string[] {
  return Object.entries(options).map(([name, value]) => {
    const words = flagWords(name, "-");
    if (typeof value === "boolean") return value ? words : `no-${words}`;
    return `${words}-${textOf(value).replace(/[^\w.-]/g, "_")}`;
  });
}

/**
 * What titles say about settings: those in which variants differ, where they are not the usual ones.
 * @param own settings of the variant
 * @param names settings in which variants of the experiment differ
 */
export function titleParts(own: Partial<ExperimentSettings>, names: Iterable<string>): string[] {
  return [...names].flatMap((name) => {
    const [value, usual] = [own[name as SettingName], SHAPE[name as SettingName].safeParse(undefined).data];
    if (isSeed(name) || JSON.stringify(value) === JSON.stringify(usual)) return [];
    const words = flagWords(name, " ");
    if (typeof value === "boolean") return value ? [words] : [`not ${words}`];
    return [`${words} ${textOf(value)}`];
  });
}
