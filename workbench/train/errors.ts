// The errors of a run: one line each, with the step and what was found there.

/** A loss, gradient or metric that is not a finite number; the parameters are those before the step. */
export class NonFiniteError extends Error {
  override readonly name = "NonFiniteError";
  readonly step: number;

  constructor(problem: string, step: number) {
    super(problem);
    this.step = step;
  }
}

/** A run that cannot start, go on or be resumed as asked. */
export class RunError extends Error {
  override readonly name = "RunError";
}
