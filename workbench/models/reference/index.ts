// Import of the reference implementation's checkpoints: the public surface of this folder.

export { isReferenceCheckpoint } from "./checkpoint-tensors.ts";
export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
