// Loops as in Jinja. The library keeps variables that are set in one iteration for the next one, and drops the text of an
// iteration that `break` or `continue` ends. Here, the body of a loop is one statement, which is evaluated in a scope of
// its own for each iteration.

import { Environment, Interpreter } from "@huggingface/jinja";

type Evaluate = Interpreter["evaluate"];
type Statement = NonNullable<Parameters<Evaluate>[0]>;
type Value = ReturnType<Evaluate>;
/** The root of a parsed template. */
export type Program = Parameters<Interpreter["run"]>[0];

/** A statement with others in it: the body of a loop, or a branch of `if`. */
interface Block {
  type: "Iteration" | "Branch";
  body: readonly Statement[];
}

/** Makes each body of a loop and each branch of `if` one statement that LoopInterpreter evaluates. Changes the program. */
export function withLoopScopes(program: Program): Program {
  visit(program);
  return program;
}

function visit(node: unknown): void {
  if (typeof node !== "object" || node === null) return;
  for (const part of Object.values(node)) visit(part);
  const { type } = node as { type?: unknown };
  if (type === "For") asOne(node as Record<string, unknown>, "body", "Iteration");
  if (type === "If") for (const name of ["body", "alternate"]) asOne(node as Record<string, unknown>, name, "Branch");
}

function asOne(node: Record<string, unknown>, name: string, type: Block["type"]): void {
  node[name] = [{ type, body: node[name] }];
}

/** Thrown by `break` and `continue`, with the text of the iteration so far. */
class IterationEnds extends Error {
  override readonly message = "break or continue is not in a loop";
  readonly isBreak: boolean;
  text = "";

  constructor(isBreak: boolean) {
    super();
    this.isBreak = isBreak;
  }
}

/** A loop that runs. */
interface Loop {
  /** text of iterations that ended early, and which the library does not have */
  text: string;
  /** whether an iteration came to its end. If none did, the library appends the text of `else`, as Jinja does */
  isComplete: boolean;
}

/** An interpreter for programs of `withLoopScopes`. */
export class LoopInterpreter extends Interpreter {
  /** loops that run, the innermost one last */
  readonly #loops: Loop[] = [];

  override evaluate(...[statement, environment]: Parameters<Evaluate>): Value {
    const { type } = (statement ?? {}) as { type?: string };
    if (type === "Break" || type === "Continue") throw new IterationEnds(type === "Break");
    if (type === "Branch") return this.#textValue(this.#text(statement as unknown as Block, environment), environment);
    if (type === "Iteration") return this.#iteration(statement as unknown as Block, environment);
    if (type === "For") return this.#loop(statement, environment);
    return super.evaluate(statement, environment);
  }

  #loop(...[statement, environment]: Parameters<Evaluate>): Value {
    const loop: Loop = { text: "", isComplete: false };
    this.#loops.push(loop);
    try {
      const { value } = super.evaluate(statement, environment);
      return this.#textValue(loop.isComplete ? `${value}${loop.text}` : `${loop.text}${value}`, environment);
    } finally {
      this.#loops.pop();
    }
  }

  #iteration(block: Block, environment: Environment): Value {
    const loop = this.#loops.at(-1) as Loop;
    try {
      const text = loop.text + this.#text(block, new Environment(environment));
      Object.assign(loop, { text: "", isComplete: true });
      return this.#textValue(text, environment);
    } catch (error) {
      if (!(error instanceof IterationEnds)) throw error;
      loop.text += error.text;
      // The library's own break or continue, which its loop catches.
      return super.evaluate({ type: error.isBreak ? "Break" : "Continue" } as Statement, environment);
    }
  }

  #text({ body }: Block, environment: Environment): string {
    let text = "";
    try {
      for (const statement of body) {
        const value = this.evaluate(statement, environment);
        if (value.type !== "NullValue" && value.type !== "UndefinedValue") text += value.toString();
      }
      return text;
    } catch (error) {
      if (error instanceof IterationEnds) error.text = text + error.text;
      throw error;
    }
  }

  /** The library's value of a text. */
  #textValue(value: string, environment: Environment): Value {
    return super.evaluate({ type: "StringLiteral", value } as unknown as Statement, environment);
  }
}
