// Reads the settings of rotary positions from config.json: `rope_parameters` of transformers 5, or `rope_theta` and
// `rope_scaling` of earlier versions. Defaults and precedence are transformers'.

import { z } from "zod";
import { ModelError } from "../../../hub/model-folder/index.ts";
import { checked, count } from "../parts/config-fields.ts";
import type { Rotary, RotaryScaling } from "./rotary.ts";

/** What the settings depend on beside their own fields. */
export interface RotaryContext {
  /** components of a head */
  headSize: number;
  /** `max_position_embeddings` */
  positions: number;
  /** `rope_theta` of the family, if it is absent */
  theta: number;
  /** name of the file in errors */
  file: string;
}

const factor = z.number().min(1);
const positive = z.number().positive();
const optional = positive.nullish();
const theta = z.number().gt(1);

interface ScalingContext extends RotaryContext {
  /** `original_max_position_embeddings` outside of the settings, which precedes that inside */
  trained: number | undefined;
  /** prefix of the names of fields in errors */
  path: string;
}

interface Kind {
  /** names of its fields beside those that all kinds have */
  fields: readonly string[];
  read(settings: unknown, context: ScalingContext): RotaryScaling;
}

const kindWith = <T>(
  schema: z.ZodType<T> & { shape: object },
  scaling: (fields: T, context: ScalingContext) => RotaryScaling,
): Kind => ({
  fields: Object.keys(schema.shape),
  read: (settings, context) => scaling(checked(schema, settings, context.file, context.path), context),
});

const KINDS: Readonly<Record<string, Kind>> = {
  default: kindWith(z.object({}), () => ({ kind: "default" })),
  linear: kindWith(z.object({ factor }), ({ factor }) => ({ kind: "linear", factor })),
  dynamic: kindWith(z.object({ factor }), ({ factor }, { positions }) => ({
    kind: "dynamic",
    factor,
    trained: positions,
  })),
  llama3: kindWith(
    z.object({
      factor,
      low_freq_factor: positive,
      high_freq_factor: positive,
      original_max_position_embeddings: count.nullish(),
    }),
    (fields, { positions, trained, file, path }) => {
      const { factor, low_freq_factor: lowFactor, high_freq_factor: highFactor } = fields;
      if (highFactor <= lowFactor) {
        const problem = `${path}high_freq_factor must be above low_freq_factor ${lowFactor}, is ${highFactor}`;
        throw new ModelError(problem, { file });
      }
      const length = trained ?? fields.original_max_position_embeddings ?? positions;
      return { kind: "llama3", factor, trained: length, lowFactor, highFactor };
    },
  ),
  yarn: kindWith(
    z.object({
      factor: factor.nullish(),
      original_max_position_embeddings: count.nullish(),
      attention_factor: optional,
      beta_fast: optional,
      beta_slow: optional,
      mscale: z.number().nullish(),
      mscale_all_dim: z.number().nullish(),
      truncate: z.boolean().nullish(),
    }),
    (fields, { positions, trained }) => {
      const length = trained ?? fields.original_max_position_embeddings ?? positions;
      const factor = fields.factor ?? positions / length;
      const { mscale, mscale_all_dim: all } = fields;
      const usual = mscale && all ? yarnScale(factor, mscale) / yarnScale(factor, all) : yarnScale(factor, 1);
      return {
        kind: "yarn",
        factor,
        trained: length,
        betaFast: fields.beta_fast ?? 32,
        betaSlow: fields.beta_slow ?? 1,
        truncate: fields.truncate ?? true,
        attentionFactor: fields.attention_factor ?? usual,
      };
    },
  ),
};

/** The factor of attention that the paper recommends (Peng et al. 2023, equation 22), with a weight. */
const yarnScale = (factor: number, weight: number): number => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);

const COMMON = z.object({ rope_theta: theta.nullish(), partial_rotary_factor: z.number().gt(0).max(1).nullish() });
const OLD = COMMON.extend({ original_max_position_embeddings: count.nullish() });

/** Fields that some kind has. A kind ignores those of the others, as in transformers. */
const KNOWN = new Set([
  ...["rope_type", "type", "rope_theta", "partial_rotary_factor"],
  ...Object.values(KINDS).flatMap(({ fields }) => fields),
]);

/**
 * Reads the settings of rotary positions.
 * @throws ModelError that names a field which is invalid or not supported
 */
export function readRotary(json: Readonly<Record<string, unknown>>, context: RotaryContext): Rotary {
  const { file, headSize } = context;
  const { fields, path } = settingsOf(json, file);
  const own = checked(COMMON, fields, file, path);
  const outer = checked(OLD, json, file);
  const share = own.partial_rotary_factor ?? outer.partial_rotary_factor ?? 1;
  const size = Math.trunc(headSize * share);
  if (size < 2 || size % 2 !== 0) {
    const problem = `head_dim × partial_rotary_factor is ${headSize} × ${share}: must be even and at least 2`;
    throw new ModelError(problem, { file });
  }
  const trained = outer.original_max_position_embeddings ?? undefined;
  const scaling = kindOf(fields, { path, file }).read(fields, { ...context, trained, path });
  if (scaling.kind === "dynamic" && size === 2) {
    throw new ModelError(`head_dim × partial_rotary_factor is 2: "dynamic" needs at least 4`, { file });
  }
  return { size, theta: own.rope_theta ?? outer.rope_theta ?? context.theta, scaling };
}

/** The dictionary of the settings and its name. `rope_scaling` precedes `rope_parameters`, unless it is empty. */
function settingsOf(
  json: Readonly<Record<string, unknown>>,
  file: string,
): { fields: Record<string, unknown>; path: string } {
  for (const name of ["rope_scaling", "rope_parameters"]) {
    const found = json[name] ?? {};
    if (typeof found !== "object" || Array.isArray(found)) {
      throw new ModelError(`${name} is ${JSON.stringify(found).slice(0, 80)}: expected an object`, { file });
    }
    if (Object.keys(found).length > 0) return { fields: found as Record<string, unknown>, path: `${name}.` };
  }
  return { fields: {}, path: "rope_parameters." };
}

function kindOf(fields: Readonly<Record<string, unknown>>, { path, file }: { path: string; file: string }): Kind {
  const kind = fields.rope_type ?? fields.type ?? "default";
  const unknown = Object.keys(fields).find((name) => !KNOWN.has(name) && fields[name] != null);
  if (unknown !== undefined) {
    const value = JSON.stringify(fields[unknown])?.slice(0, 80);
    throw new ModelError(`${path}${unknown} is ${value}, which is not computed here`, { file });
  }
  if (typeof kind === "string" && Object.hasOwn(KINDS, kind)) return KINDS[kind] as Kind;
  const name = path + (fields.rope_type === undefined ? "type" : "rope_type");
  const known = Object.keys(KINDS).join(", ");
  throw new ModelError(`${name} is ${JSON.stringify(kind).slice(0, 80)}, there is ${known}`, { file });
}
