// What a repository says of itself in the YAML at the head of its README, as far as lists and infos show it.

import { parse } from "yaml";
import type { HubCommit } from "../store/commit-object.ts";
import type { Repository } from "../store/repository.ts";

export interface CardFacts {
  cardData?: Record<string, unknown>;
  tags: string[];
  pipeline_tag?: string;
  library_name?: string;
}

const LONGEST_CARD = 2 ** 20;

const CARD = "README.md";

/** A card that cannot be read says nothing. @param commit the plain folder's card if it is not given */
export async function cardFacts(repository: Repository, commit?: HubCommit): Promise<CardFacts> {
  const file = commit ? commit.files.find(({ path }) => path === CARD) : await repository.fileNow(CARD);
  if (!file || file.size > LONGEST_CARD) return { tags: [] };
  const content = await repository.open(file);
  const text = await content?.handle.readFile("utf8").finally(() => content.handle.close());
  const cardData = frontMatter(text ?? "");
  if (!cardData) return { tags: [] };
  const { pipeline_tag, library_name } = cardData;
  const named = {
    ...(typeof pipeline_tag === "string" && { pipeline_tag }),
    ...(typeof library_name === "string" && { library_name }),
  };
  const own = Array.isArray(cardData.tags) ? cardData.tags.filter((tag) => typeof tag === "string") : [];
  return { cardData, tags: [...new Set([...own, ...Object.values(named)])], ...named };
}

function frontMatter(text: string): Record<string, unknown> | undefined {
  const [, yaml] = /^---\r?\n([\s\S]*?)\r?\n---(\r?\n|$)/.exec(text) ?? [];
  if (yaml === undefined) return undefined;
  try {
    const value: unknown = parse(yaml, { maxAliasCount: 10, logLevel: "silent" });
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
