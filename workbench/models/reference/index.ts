// Checkpoints of the method's reference implementation, made into model folders. The one door of this folder.

export { type ImportReferenceEvent, type ImportReferenceOptions, importReference } from "./import-reference.ts";
export { type PullZooEvent, type PullZooOptions, pullZoo } from "./zoo-model.ts";
