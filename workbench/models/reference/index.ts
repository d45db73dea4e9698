// Checkpoints of the method's reference implementation, made into model folders. The one door of this folder.

export { isReferenceCheckpoint } from "./checkpoint-tensors.ts";
export { gpt2Reader } from "./gpt2.ts";
export { HeadsUnknown, usualHeads } from "./heads.ts";
export { findSetting, isCount, type Settings } from "./hyper-parameters.ts";
export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export type { ReferenceCheckpoint, ReferenceReader } from "./reader.ts";
export { resnetNames, resnetReader } from "./resnet.ts";
export { countNumbered, ratioOf, sideOf } from "./shapes.ts";
export { vitReader } from "./vit.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
