// Which classes a data set says it has: in its README (`dataset_info`), or in what Hugging Face's `datasets` writes into
// parquet files. Names are in the order of their numbers.

import { z } from "zod";
import { mapOf } from "../../../hub/text/json.ts";
import { frontMatter } from "../dataset/readme-configs.ts";

const Name = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const Names = z.union([z.array(Name), z.record(z.string(), Name).transform(inOrder)]);
const Feature = z.looseObject({
  name: z.string(),
  dtype: z.looseObject({ class_label: z.looseObject({ names: Names }) }),
});
const Info = z.looseObject({
  config_name: z.string().default("default"),
  // Other features are of other forms.
  features: z.array(z.unknown()).default([]),
});
const FrontMatter = z.looseObject({
  dataset_info: z.union([z.array(Info), Info.transform((one) => [one])]).default([]),
});
const Stored = z.looseObject({ info: z.looseObject({ features: mapOf(z.unknown()) }) });
const StoredFeature = z.looseObject({ names: Names });

function inOrder(names: Record<string, string>): string[] {
  return Object.entries(names)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, name]) => name);
}

/** @returns nothing where the README does not name the classes of the column */
export function namesInReadme(
  readme: string,
  { file, config, column }: { file: string; config: string; column: string },
): string[] | undefined {
  const infos = FrontMatter.safeParse(frontMatter(readme, file)).data?.dataset_info ?? [];
  const info = infos.find(({ config_name }) => config_name === config) ?? (infos.length === 1 ? infos[0] : undefined);
  for (const feature of info?.features ?? []) {
    const found = Feature.safeParse(feature).data;
    if (found?.name === column) return found.dtype.class_label.names;
  }
  return undefined;
}

/** @param entries of the parquet file's metadata */
export function namesInParquet(
  entries: readonly { key: string; value?: string | undefined }[] | undefined,
  column: string,
): string[] | undefined {
  const text = entries?.find(({ key }) => key === "huggingface")?.value;
  if (text === undefined) return undefined;
  try {
    const { features } = Stored.parse(JSON.parse(text)).info;
    return StoredFeature.safeParse(features.get(column)).data?.names;
  } catch {
    return undefined;
  }
}
