// Checkpoints of the method's reference implementation, made into model folders: what other folders use of it.

export { isReferenceCheckpoint } from "./checkpoint-tensors.ts";
export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
