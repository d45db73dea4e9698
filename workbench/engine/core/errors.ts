// The errors of the engine: one line that says what was asked, what there is and what to do.

/** A request the engine cannot meet: an unknown engine, a device that is absent, a stale addon. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  /** what the user can do, an imperative clause without a full stop */
  readonly remedy: string;

  constructor(
    /** what was asked and what there is, e.g. `engine "torch" is not available: the native addon is not built` */
    problem: string,
    remedy: string,
    options?: ErrorOptions,
  ) {
    super(`${problem}; ${remedy}`, options);
    this.remedy = remedy;
  }
}

/** Wrong operands of a fused op: `linear: weight must be (n_out, 48), got float32 (96, 40)`. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
}
