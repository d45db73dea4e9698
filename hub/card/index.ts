// Model cards: what the README.md of a model repository says. The one door of this folder.

export { modelCard } from "./card.ts";
export type { BaseMetadata, CardFacts, ComparisonRow, DatasetFacts, MeasuredMetric } from "./facts.ts";
export { frontMatter, parseCardMetadata } from "./metadata.ts";
