// Checkpoints of the method's reference implementation, made into model folders. The one door of this folder.

export { isReferenceCheckpoint } from "./checkpoint-tensors.ts";
export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export { resnetNames } from "./resnet.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
