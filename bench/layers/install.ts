// Puts GBLR layers with spans like those that searches found, and random values, into a model. No decomposition is needed,
// and blocks are where a search would place them, which is what the speed of training depends on.

import { randomNormal, type Tensor, tidy, variable } from "@tensorflow/tfjs-core";
import { planConversion } from "../../workbench/compress/index.ts";
import { unpack } from "../../workbench/gblr/packed.ts";
import { type Model, modelCounts } from "../../workbench/models/index.ts";
import { gblrStructure } from "../../workbench/structures/gblr.ts";
import { likeOf } from "./models.ts";
import { type FoundSpans, packedLike, readSpans } from "./spans.ts";

/** Size of values such that the matrix has entries about as large as those of a trained one. */
const SIZE = 0.035;

/**
 * Makes the layers that a conversion to `flops` would convert GBLR layers of that cost.
 * @param flops relative FLOPs of the whole model by the reference count
 * @returns relative FLOPs that were reached
 */
export async function installFound<Config>(model: Model<Config>, flops: number): Promise<number> {
  const plan = await planConversion(model, { structure: "gblr", flops });
  const found = await readSpans();
  const structure = gblrStructure(model.masks);
  for (const { name, nIn, nOut } of plan.layers) {
    const { share } = plan.totals;
    const spans = found.get(`compact/${share > 0.3 ? 0.4 : 0.25}/${likeOf(name)}`) as FoundSpans;
    const packed = packedLike(spans, { nIn, nOut, share });
    const { parameters } = unpack(packed);
    const scaled = (tensor: Tensor) => tidy(() => variable(randomNormal(tensor.shape, 0, SIZE, "float32", 1)));
    const { lr_weight1, lr_weight2, widths, locations } = parameters;
    const made = {
      ...{ lr_weight1: scaled(lr_weight1), lr_weight2: scaled(lr_weight2) },
      ...{ widths: variable(widths), locations: variable(locations) },
    };
    for (const tensor of Object.values({ ...parameters, ...packed })) if (typeof tensor === "object") tensor.dispose();
    model.parameter(`${name}.weight`).dispose();
    model.parameters.delete(`${name}.weight`);
    for (const [own, parameter] of Object.entries(made)) model.parameters.set(`${name}.${own}`, parameter);
    model.layers.set(name, { ...model.layer(name), structure });
  }
  return (await modelCounts(model)).reference.relative;
}
