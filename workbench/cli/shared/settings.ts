// Converts between the settings of a recipe and flags. The flags, their help and their checks are derived from the zod
// schema of the settings, which has the name, type, default, unit and limits of each. `defaultsFor` determines which
// defaults of a recipe apply together with the given flags.

import { Option } from "commander";
import { z } from "zod";
import { SCRATCH_SETTINGS, scratchName } from "../../pipeline/domains/scratch-model.ts";
import type { SettingMeta } from "../../pipeline/settings.ts";
import { structures } from "../../structures/registry.ts";
import { UsageError } from "./program.ts";

/** A setting as the JSON schema describes it. */
interface Property extends Partial<SettingMeta> {
  type?: string;
  default?: unknown;
  enum?: readonly string[];
}

/** The flag of a setting: `--learning-rate` for `learningRate`. */
export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`;

/**
 * One commander option for each setting, and a hidden one for each of its other names.
 * @param defaults defaults to show instead of the schema's
 */
export function optionsOf<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  defaults: Readonly<Record<string, unknown>> = {},
): Option[] {
  return Object.entries(propertiesOf(schema)).flatMap(([name, property]) => {
    const given = name in defaults ? defaults[name] : property.default;
    const text = isShown(given) ? withDefault(property.description ?? "", given) : (property.description ?? "");
    const option = optionOf(name, property, { text, isOn: given === true });
    const aliases = property.aliases?.map(
      (alias) => new AliasOption(name, option.flags.replace(flagOf(name), flagOf(alias))),
    );
    return [property.group === undefined ? option : option.helpGroup(`${property.group}:`), ...(aliases ?? [])];
  });
}

/** A flag with another name of a setting, left out of the help. Its value is stored under the setting's name. */
export class AliasOption extends Option {
  private readonly setting: string;

  constructor(setting: string, flags: string) {
    super(flags);
    this.setting = setting;
    this.hideHelp();
  }

  override attributeName(): string {
    return this.setting;
  }
}

function optionOf(name: string, property: Property, { text, isOn }: { text: string; isOn: boolean }): Option {
  const flag = flagOf(name);
  if (property.type === "boolean")
    return isOn ? new Option(flag.replace("--", "--no-"), `do not ${text}`) : new Option(flag, text);
  const option = new Option(`${flag} <${property.enum ? "name" : (property.unit ?? valueName(property))}>`, text);
  return property.enum ? option.choices(property.enum) : option;
}

/** The defaults of all settings, as help shows them. */
export function defaultsOf(
  schema: z.ZodObject,
  defaults: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(propertiesOf(schema)).map(([name, property]) => [name, defaults[name] ?? property.default]),
  );
}

/**
 * Reads settings from the flags; a setting without a flag comes from `defaults`, else from the schema.
 * @throws UsageError naming every flag whose value is invalid
 */
export function readSettings<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  given: Readonly<Record<string, unknown>>,
  defaults: Partial<z.input<z.ZodObject<Shape>>> = {},
): z.output<z.ZodObject<Shape>> {
  const properties = propertiesOf(schema);
  const values: Record<string, unknown> = { ...defaults };
  for (const [name, property] of Object.entries(properties)) {
    if (given[name] !== undefined) values[name] = converted(given[name], property);
  }
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => {
    const name = String(path[0] ?? "");
    const told = message.replace(/^(Too small|Too big|Invalid option|Invalid input|Invalid string): /, "");
    const value = given[name] ?? values[name];
    if (name !== "" && value === undefined) return `${flagOf(name)} is missing`;
    return name === "" ? told : `${flagOf(name)} ${shown(value)}: ${told}`;
  });
  throw new UsageError(problems.join("; "));
}

function propertiesOf(schema: z.ZodObject): Record<string, Property> {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }).properties as Record<string, Property>;
}

function converted(value: unknown, { type }: Property): unknown {
  if (typeof value !== "string") return value;
  if (type === "number" || type === "integer") return value.trim() === "" ? Number.NaN : Number(value);
  if (type === "array") return value.split(",").map((part) => part.trim());
  return value;
}

/** A description with this default, which replaces a default in the description. */
const withDefault = (text: string, given: unknown): string =>
  `${text.replace(/ \(default: [^)]*\)$/, "")} (default: ${shown(given)})`;

const valueName = ({ type }: Property): string =>
  type === "number" || type === "integer" ? "number" : type === "array" ? "list" : "text";

const shown = (value: unknown): string =>
  Array.isArray(value) ? value.join(",") : typeof value === "string" ? value : JSON.stringify(value);

/** Whether help shows a default. That of a switch follows from its flag; empty lists are not shown either. */
const isShown = (value: unknown): boolean =>
  value !== undefined && typeof value !== "boolean" && !(Array.isArray(value) && value.length === 0);

/**
 * Defaults of a recipe that are valid only with its default for another setting. If `flag`, the flag of that setting,
 * is given, the defaults of `settings` are dropped, unless `unless` is true for the flag's value.
 */
const BELONG: readonly { flag: string; unless?: (value: string) => boolean; settings: readonly string[] }[] = [
  { flag: "dataset", settings: ["config"] },
  {
    flag: "structure",
    unless: (value) => structures().some(({ name, hasWidths }) => hasWidths && name === value),
    settings: ["init", "stableBlocks"],
  },
  { flag: "init", unless: (value) => value === "search", settings: ["stableBlocks"] },
  { flag: "shrink", settings: ["threshold", "startThreshold", "approach", "freeze", "target", "startCost"] },
  // Adapters leave widths as they are.
  {
    flag: "lora",
    settings: ["shrink", "shrinkEvery", "threshold", "startThreshold", "approach", "freeze", "target", "startCost"],
  },
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
    // Wide blocks at one location and smooth masks are meant for training from scratch. A trained model has its own
    // preparation of images.
    settings: [...SCRATCH_SETTINGS, "widths", "locations", "sigma", "sigmaEpochs", "crop", "cropMode", "interpolation"],
  },
];

/** Shrink rules that change the cost of the layers during training. */
const DRIFTING = ["mean", "soft", "targeted", "adaptive"];

/**
 * The defaults of a recipe that apply together with these flags. If a flag gives a budget but no shrink rule, and the
 * recipe's rule would change the cost, the rule becomes `budget`.
 */
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
