// Runs Jinja templates with limits. A template comes with a model, from anywhere, and is a program: nested loops could
// run for years, and repeated concatenation could fill the memory.

import { Environment } from "@huggingface/jinja";
import { LoopInterpreter, type Program } from "./jinja-loops.ts";

type Evaluate = LoopInterpreter["evaluate"];
type Value = ReturnType<Evaluate>;

/** Limits on one rendering. A message takes some hundred steps in templates of models. */
const MOST_STEPS = 1_000_000;
/** characters of a text, and items of a list with those of the lists in it */
const MOST_LENGTH = 4_000_000;
/** characters of a text, or items of a list, that count as a step, because operations go through all of them */
const LENGTH_OF_STEP = 256;
/** nested expressions and blocks */
const MOST_DEPTH = 500;

/** An error of a template, in words that complete "the template …". */
export class TemplateFailed extends Error {
  override readonly name = "TemplateFailed";
}

/** An interpreter that throws TemplateFailed when a limit is exceeded. */
class LimitedInterpreter extends LoopInterpreter {
  #steps = 0;
  #depth = 0;
  /** sizes of lists and dictionaries, which do not change once they are made */
  readonly #sizes = new WeakMap<object, number>();

  override evaluate(...[statement, environment]: Parameters<Evaluate>): ReturnType<Evaluate> {
    this.count(1);
    if (this.#depth >= MOST_DEPTH) throw new TemplateFailed(`is nested more than ${MOST_DEPTH} deep`);
    this.#depth++;
    try {
      const result = super.evaluate(statement, environment);
      this.count(Math.floor(lengthOf(result) / LENGTH_OF_STEP));
      if (this.#sizeOf(result) > MOST_LENGTH) {
        throw new TemplateFailed(`makes a text or list of more than ${MOST_LENGTH} characters or items`);
      }
      return result;
    } finally {
      this.#depth--;
    }
  }

  /**
   * Characters and items that a value has when it is written out. A list that occurs twice in another one counts twice:
   * 40 lists, each with the one before twice, would be a text of a terabyte. A namespace is not written out.
   */
  #sizeOf(result: Value): number {
    const { value } = result;
    if (typeof value === "string") return value.length;
    const items = result.type !== "NamespaceValue" && itemsOf(value);
    if (!items) return 1;
    const known = this.#sizes.get(result);
    if (known !== undefined) return known;
    let size = 0;
    for (const item of items) size += Math.max(1, this.#sizeOf(item));
    this.#sizes.set(result, size);
    return size;
  }

  /** Adds to the number of steps. @throws TemplateFailed above the limit */
  count(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw new TemplateFailed(`takes more than ${MOST_STEPS} steps`);
  }
}

/** Characters of a text or items of a list; 0 for other values. */
function lengthOf({ value }: Value): number {
  return typeof value === "string" || Array.isArray(value) ? value.length : 0;
}

/** The values of a list or dictionary; undefined for other values. */
function itemsOf(value: unknown): Iterable<Value> | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Map ? value.values() : undefined;
}

/**
 * Renders a template.
 * @param program parsed, with `withLoopScopes`
 * @param globals variables of the template
 * @throws TemplateFailed when a limit is exceeded or the template calls raise_exception; other errors are the library's
 */
export function renderLimited(program: Program, globals: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  const interpreter = new LimitedInterpreter(environment);
  const all: Record<string, unknown> = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range: (...bounds: number[]) => range(bounds, (steps) => interpreter.count(steps)),
    raise_exception: (message: unknown) => {
      throw new TemplateFailed(`refuses the chat: ${String(message).replace(/\s*\n\s*/g, " ")}`);
    },
    ...globals,
  };
  for (const [name, value] of Object.entries(all)) environment.set(name, value);
  return String(interpreter.run(program).value);
}

/** Python's range. @param count gets the number of items before they are made */
function range(bounds: readonly number[], count: (items: number) => void): number[] {
  const [start, stop, step = 1] = bounds.length > 1 ? bounds : [0, ...bounds];
  if (start === undefined || stop === undefined || step === 0 || ![start, stop, step].every(Number.isSafeInteger)) {
    throw new TemplateFailed("calls range with arguments that are not whole numbers, or a step of 0");
  }
  const length = Math.max(0, Math.ceil((stop - start) / step));
  count(length);
  return Array.from({ length }, (_, i) => start + i * step);
}
