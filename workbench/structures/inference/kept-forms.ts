// The file in which measured choices of forms are kept, and what is known of a layer from it. `forms.json` holds, for
// each machine and each kind of layer, the fastest form and the seconds of all. This file uses no tensors.

import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { lockFile } from "../../../hub/cache/lock.ts";
import { workbenchCache } from "../../../hub/cache/paths.ts";
import { writeFileAtomically } from "../../../hub/files/atomic-file.ts";
import type { MatrixSize } from "../budget.ts";
import { FORM_NAMES, type FormCost } from "../structure.ts";

/** Typical number of rows of products: `many` in evaluation, `few` in generation token by token. */
export type Rows = "many" | "few";

/** The number of rows with which forms are timed. */
export const PROBE_ROWS: Readonly<Record<Rows, number>> = { many: 512, few: 1 };

/** Smallest number of entries of a matrix whose forms are timed. The product with a smaller one takes microseconds. */
export const LEAST_ENTRIES = 1 << 18;

/** Version of the file's format and of the measurement. */
const VERSION = 2;
/** Layers of one size whose costs are in the same twentieth of dense share a choice. */
const COST_STEPS = 20;

/** Measured choices by what they depend on, as they are stored. */
export const MEASURED_FORMS = z.record(
  z.string(),
  z.object({
    form: z.enum(FORM_NAMES),
    /** seconds of one product by form */
    seconds: z.partialRecord(z.enum(FORM_NAMES), z.number()),
  }),
);

/** Measured choices by what they depend on. */
export type MeasuredForms = z.infer<typeof MEASURED_FORMS>;
/** A measured choice. */
export type MeasuredForm = MeasuredForms[string];

const formsFile = z.object({ version: z.literal(VERSION), choices: MEASURED_FORMS });

/** Where the user's choices are kept. */
export const formsPath = (environment: Readonly<Record<string, string | undefined>>): string =>
  join(workbenchCache(environment), "forms.json");

/** The choices in a file; none if there is no file, or it is damaged or has another format. */
export function readForms(file: string | undefined): MeasuredForms {
  if (file === undefined) return {};
  try {
    return formsFile.parse(JSON.parse(readFileSync(file, "utf8"))).choices;
  } catch {
    return {};
  }
}

/**
 * Adds a choice to a file. Processes take turns, so that none loses the choice of another.
 * @throws the file system's error
 */
export async function keepForm(file: string, key: string, choice: MeasuredForm): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const release = await lockFile(`${file}.lock`);
  try {
    const contents = { version: VERSION, choices: { ...readForms(file), [key]: choice } };
    await writeFileAtomically(file, `${JSON.stringify(contents, null, 1)}\n`);
  } finally {
    await release();
  }
}

/** What a choice depends on. */
export interface FormKey extends MatrixSize {
  /** of all forms that the layer can have */
  costs: readonly FormCost[];
  rows: Rows;
  /** of the engine: version, device, precision, threads, kernels */
  settings: string;
}

/** The key of a choice in the file, for this machine's processor. */
export const formKey = ({ settings, ...layer }: FormKey): string => `${processor()}, ${settings}, ${layerKey(layer)}`;

/** The processor of this machine, as keys begin. */
export const processor = (): string => cpus()[0]?.model.trim() || "unknown processor";

const layerKey = ({ nIn, nOut, rows, costs }: Omit<FormKey, "settings">): string => {
  const steps = costs.map(({ name, cost }) => `${name} ${Math.ceil((COST_STEPS * cost) / (nIn * nOut))}`);
  return [`${rows} rows`, `${nOut} × ${nIn}`, ...steps].join(", ");
};

/** A choice that is known for a layer on this machine's processor. */
export interface KnownForm extends MeasuredForm {
  /** the number of rows with which the forms were timed */
  rows: number;
  /** settings of the engine: version, device, precision, threads, kernels */
  settings: string;
}

/** The choices for a layer that were measured on this machine's processor, with many rows first. */
export function knownForms(
  choices: MeasuredForms,
  { nIn, nOut, costs }: MatrixSize & { costs: readonly FormCost[] },
): KnownForm[] {
  const start = `${processor()}, `;
  return (["many", "few"] as const).flatMap((rows) => {
    const end = `, ${layerKey({ nIn, nOut, costs, rows })}`;
    return Object.entries(choices).flatMap(([key, choice]) =>
      key.startsWith(start) && key.endsWith(end)
        ? [{ ...choice, rows: PROBE_ROWS[rows], settings: key.slice(start.length, -end.length) }]
        : [],
    );
  });
}

/** What is kept on a machine. */
export interface FormsSummary {
  /** path of the file */
  file: string;
  /** this machine's processor */
  processor: string;
  /** number of choices that were measured on this processor */
  choices: number;
  /** number of choices of other processors, whose machines share the folder */
  others: number;
}

/** Counts the choices in the user's cache. */
export function summarizeForms(environment: Readonly<Record<string, string | undefined>>): FormsSummary {
  const file = formsPath(environment);
  const keys = Object.keys(readForms(file));
  const own = keys.filter((key) => key.startsWith(`${processor()}, `)).length;
  return { file, processor: processor(), choices: own, others: keys.length - own };
}
