// The public functions of this folder: model cards, which are the README.md of model repositories
// (huggingface.co/docs/hub/model-cards).

export { modelCard } from "./card.ts";
export type { BaseMetadata, CardFacts, CardRow, DatasetFacts, MeasuredMetric } from "./facts.ts";
export { frontMatter, parseCardMetadata } from "./metadata.ts";
export { SIZES_PICTURE, type SizesFacts } from "./sizes.ts";
export type { StorageFacts } from "./storage.ts";
