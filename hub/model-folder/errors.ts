// The one error of model folders: where, which layer, what is wrong. Messages are one line.

import { quote } from "../safetensors/errors.ts";

/** A model that is not there, is no model, or contradicts itself. */
export class ModelError extends Error {
  override readonly name = "ModelError";

  constructor(
    /** a clause about the layer, or about the file or folder where no layer is named */
    problem: string,
    { file, layer }: { file: string; layer?: string },
    options?: ErrorOptions,
  ) {
    super(`${file}: ${layer === undefined ? "" : `layer ${quote(layer)}: `}${problem}`, options);
  }
}
