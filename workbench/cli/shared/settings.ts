// Settings of a recipe as flags. A zod object gives the name, type, default, unit and limits of each; the command
// line, its help and the checks are derived from it.

import { Option } from "commander";
import { z } from "zod";
import type { SettingMeta } from "../../pipeline/settings.ts";
import { UsageError } from "./program.ts";

/** A setting in the JSON schema. */
interface Property extends Partial<SettingMeta> {
  type?: string;
  default?: unknown;
  enum?: readonly string[];
}

/** `learningRate` → `--learning-rate` */
export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`;

/**
 * A commander option for each setting, and a hidden one for each name that it had before.
 * @param defaults shown instead of the schema's own
 */
export function optionsOf<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  defaults: Readonly<Record<string, unknown>> = {},
): Option[] {
  return Object.entries(propertiesOf(schema)).flatMap(([name, property]) => {
    const given = name in defaults ? defaults[name] : property.default;
    const text = isTold(given) ? withDefault(property.description ?? "", given) : (property.description ?? "");
    const option = optionOf(name, property, { text, isOn: given === true });
    const former = property.formerly?.map(
      (before) => new FormerOption(name, option.flags.replace(flagOf(name), flagOf(before))),
    );
    return [property.group === undefined ? option : option.helpGroup(`${property.group}:`), ...(former ?? [])];
  });
}

/** A flag with an earlier name of its setting. Its value is stored under the present name. */
class FormerOption extends Option {
  private readonly present: string;

  constructor(present: string, flags: string) {
    super(flags);
    this.present = present;
    this.hideHelp();
  }

  override attributeName(): string {
    return this.present;
  }
}

function optionOf(name: string, property: Property, { text, isOn }: { text: string; isOn: boolean }): Option {
  const flag = flagOf(name);
  if (property.type === "boolean")
    return isOn ? new Option(flag.replace("--", "--no-"), `not: ${text}`) : new Option(flag, text);
  const option = new Option(`${flag} <${property.enum ? "name" : (property.unit ?? valueName(property))}>`, text);
  return property.enum ? option.choices(property.enum) : option;
}

/** Defaults of all settings, as help shows them. */
export function defaultsOf(
  schema: z.ZodObject,
  defaults: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(propertiesOf(schema)).map(([name, property]) => [name, defaults[name] ?? property.default]),
  );
}

/**
 * Settings from the command line, else from `defaults`, else from the schema.
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

/** Replaces the default in a description. */
const withDefault = (text: string, given: unknown): string =>
  `${text.replace(/ \(default: [^)]*\)$/, "")} (default: ${shown(given)})`;

const valueName = ({ type }: Property): string =>
  type === "number" || type === "integer" ? "number" : type === "array" ? "list" : "text";

const shown = (value: unknown): string =>
  Array.isArray(value) ? value.join(",") : typeof value === "string" ? value : JSON.stringify(value);

/** Help does not show defaults that are off or empty. */
const isTold = (value: unknown): boolean =>
  value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
