// Model cards: what the README.md of a model repository says. The one door of this folder.

export { modelCard } from "./card.ts";
export type { BaseMetadata, CardFacts, CardRow, DatasetFacts, MeasuredMetric } from "./facts.ts";
export { frontMatter, parseCardMetadata } from "./metadata.ts";
