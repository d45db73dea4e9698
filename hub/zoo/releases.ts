// The checkpoints that the authors of the Gaudi-GBLR paper released (github.com/changwoolee/Gaudi-GBLR), by short
// names. zoo/fetch.ts downloads them; workbench/models/reference converts them to model folders.

import { dirname, join } from "node:path";
import { FileError } from "../files/file-error.ts";

/** A released checkpoint. */
export interface ZooEntry {
  /** name after `zoo:` */
  name: string;
  /** file name in the release */
  file: string;
  /** `model_type` of the model */
  modelType: string;
  /** repository on the Hub of the dense model it was made from; undefined if it was trained from scratch */
  base?: string;
  /** repository on the Hub that has the tokenizer; undefined for image models */
  tokenizer?: string;
}

/** Address of the release, without a trailing slash. */
export const ZOO_RELEASE = "https://github.com/changwoolee/Gaudi-GBLR/releases/download/v1.0.0";

const PREFIX = "zoo:";

/** All released checkpoints. */
export const ZOO: readonly ZooEntry[] = [
  {
    name: "gpt2-gaudi",
    file: "gpt2-gaudi.ckpt",
    modelType: "gpt2",
    base: "openai-community/gpt2",
    tokenizer: "openai-community/gpt2",
  },
  {
    name: "vit-b-gaudi",
    file: "imagenet-vit-b-gaudi.ckpt",
    modelType: "vit",
  },
  {
    name: "resnet18-gaudi",
    file: "imagenet-resnet18-gaudi.ckpt",
    modelType: "resnet",
    base: "timm/resnet18.tv_in1k",
  },
];

/** Whether the text begins with `zoo:`. The checkpoint may not exist. */
export const isZooName = (text: string): boolean => text.startsWith(PREFIX);

/**
 * Looks a checkpoint up.
 * @param text name with or without `zoo:`
 * @throws ZooError that lists the available names
 */
export function zooEntry(text: string): ZooEntry {
  const name = isZooName(text) ? text.slice(PREFIX.length) : text;
  const found = ZOO.find((entry) => entry.name === name);
  if (found) return found;
  const names = ZOO.map((entry) => PREFIX + entry.name).join(", ");
  throw new ZooError(`is not in the zoo; available: ${names}`, { file: PREFIX + name.slice(0, 100) });
}

/**
 * The folder of downloaded checkpoints, beside the Hub's cache.
 * @param cache HubAccess.cache
 */
export const zooFolder = (cache: string): string => join(dirname(cache), "gblr-zoo");

/** A checkpoint of the zoo does not exist or cannot be downloaded. */
export class ZooError extends FileError {
  override readonly name = "ZooError";
}
