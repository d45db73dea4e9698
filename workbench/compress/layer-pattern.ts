// Layers chosen by a part of their name, as --layer and --layers give it. Which layers there are is the caller's to know.

import { EngineError } from "../engine/core/errors.ts";

const MOST_NAMED = 3;

/**
 * Layers whose name contains the pattern; `*` stands for any characters.
 * @throws EngineError when there is none, naming some that there are
 */
export function chooseLayers<L extends { name: string }>(
  layers: readonly L[],
  { pattern, model }: { pattern: string; model: string },
): L[] {
  const parts = pattern.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  const expression = new RegExp(parts.join(".*"), "s");
  const chosen = layers.filter(({ name }) => expression.test(name));
  if (chosen.length === 0) {
    const some = layers.slice(0, MOST_NAMED).map(({ name }) => name);
    const names = some.join(", ") + (layers.length > MOST_NAMED ? ", …" : "");
    throw new EngineError(
      `no layer of ${model} has "${pattern}" in its name`,
      `there is ${names || "no layer at all"}`,
    );
  }
  return chosen;
}
