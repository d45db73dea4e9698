// The form for inference that a model has on all processes which share its evaluation. The forms of a layer differ by
// rounding, and each process would choose by its own times.

import type { Sharing } from "../distributed/shares.ts";
import { forInference, type Model } from "../models/index.ts";
import { formChoices } from "../structures/inference/choice.ts";
import type { MeasuredForms } from "../structures/inference/kept-forms.ts";

/**
 * The model in its form for inference, with the choices of the first process where this one has a processor or GPU of the
 * same kind. The caller disposes of it.
 */
export async function inferenceAlike<Config>(
  model: Model<Config>,
  { ranks, signal }: Sharing,
): ReturnType<typeof forInference<Config>> {
  if (!ranks) return forInference(model);
  if (ranks.rank > 0) {
    formChoices.adopt(JSON.parse(await ranks.told(signal)) as MeasuredForms);
    return forInference(model);
  }
  const prepared = await forInference(model).catch(async (error: Error) => {
    await ranks.tellFailure(error.message);
    throw error;
  });
  await ranks.tell(JSON.stringify(formChoices.taken));
  return prepared;
}
