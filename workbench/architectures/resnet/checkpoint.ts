// The config.json of a residual network out of the reference implementation's checkpoint, as timm writes it: sizes from
// shapes. Its names are torchvision's but for the GBLR matrices of convolutions: `X.gaudi_module` over all positions of the
// kernel ((rows, columns, channels) in this order), or `X.gaudi_modules.0`, `.1`, … one for each position, row by row.

import { ModelError } from "../../../hub/model-folder/index.ts";
import { findSetting, isBoolean, isCount } from "../parts/hyper-parameters.ts";
import { preparation } from "../parts/reference-preparation.ts";
import { countNumbered, sideOf } from "../parts/tensor-shapes.ts";
import type { ReferenceCheckpoint, ReferenceNames, ReferenceReader } from "../reader.ts";

const OF_ALL = /^(layer\d+\.\d+\.conv\d+)\.gaudi_module(?=\.)/;
const OF_EACH = /^(layer\d+\.\d+\.conv\d+)\.gaudi_modules\.(\d+)(?=\.)/;
const OURS_OF_ALL = /^(layer\d+\.\d+\.conv\d+)\.(?=(?:lr_weight[12]|widths|locations|sigma|freq_in|freq_out)$)/;
const OURS_OF_EACH = /^(layer\d+\.\d+\.conv\d+)\.(\d+)(?=\.|$)/;

export const resnetNames: ReferenceNames = {
  toOurs: (name) => name.replace(OF_ALL, "$1").replace(OF_EACH, "$1.$2"),
  toTheirs: (name) => name.replace(OURS_OF_EACH, "$1.gaudi_modules.$2").replace(OURS_OF_ALL, "$1.gaudi_module."),
};

const DEPTHS: Readonly<Record<string, string>> = { "2,2,2,2": "resnet18", "3,4,6,3": "resnet34" };
const CHANNELS = "64,128,256,512";

export const resnetReader: ReferenceReader = {
  type: "resnet",
  gaussian: false,
  names: resnetNames,

  recognizes: (tensors) => tensors.has("bn1.running_mean") && tensors.has("layer1.0.bn1.running_mean"),

  config(checkpoint) {
    const hyper = checkpoint.rest.hyper_parameters;
    const stages = Array.from({ length: countNumbered(checkpoint, /^layer(\d+)\./) }, (_, i) => `layer${i + 1}`);
    const layers = stages.map((stage) => countNumbered(checkpoint, new RegExp(`^${stage}\\.(\\d+)\\.`)));
    const channels = stages.map((stage) => sideOf(checkpoint, `${stage}.0.bn2.running_mean`, 0));
    const classes = sideOf(checkpoint, "fc.bias", 0);
    const image = findSetting(hyper, ["image_size"], isCount) ?? 224;
    const name = DEPTHS[layers.join(",")];
    expectMasksOfTheirOwn(checkpoint);
    return {
      architecture: name ?? "resnet18",
      num_classes: classes,
      model_args: { ...(name === undefined && { layers }), ...(String(channels) !== CHANNELS && { channels }) },
      pretrained_cfg: {
        ...preparation(hyper, { interpolation: "bilinear", crop_pct: 0.875 }),
        input_size: [sideOf(checkpoint, "conv1.weight", 1), image, image],
        num_classes: classes,
      },
    };
  },
};

/**
 * The reference can take the masks of a kernel's first position for all of them. Its trainer has the setting and does not
 * pass it on, so that such a checkpoint leaves open which masks it was trained with.
 */
function expectMasksOfTheirOwn({ rest, tensors, file }: ReferenceCheckpoint): void {
  const unified = findSetting(rest.hyper_parameters, ["unified_mask"], isBoolean) ?? false;
  const isPerKernel = [...tensors.keys()].some((name) => OURS_OF_EACH.test(name));
  if (!unified || !isPerKernel) return;
  throw new ModelError("unified_mask is true: whether the positions of a kernel share their masks is not clear", {
    file,
  });
}
