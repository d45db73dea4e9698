// Checkpoints of the method's reference implementation, made into model folders. The one door of this folder.

export { gpt2Reader } from "../../architectures/gpt2/checkpoint.ts";
export { HeadsUnknown, usualHeads } from "../../architectures/parts/heads.ts";
export { findSetting, isCount, type Settings } from "../../architectures/parts/hyper-parameters.ts";
export { countNumbered, ratioOf, sideOf } from "../../architectures/parts/tensor-shapes.ts";
export type { ReferenceCheckpoint, ReferenceReader } from "../../architectures/reader.ts";
export { resnetNames, resnetReader } from "../../architectures/resnet/checkpoint.ts";
export { vitReader } from "../../architectures/vit/checkpoint.ts";
export { isReferenceCheckpoint } from "./checkpoint-tensors.ts";
export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
