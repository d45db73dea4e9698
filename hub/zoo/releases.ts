// The checkpoints that the method's authors have released, by short names: which there are and where. How one is fetched
// is in zoo/fetch.ts; what is inside and how it becomes a model is for those who have an engine.

import { dirname, join } from "node:path";
import { FileError } from "../files/file-error.ts";

export interface ZooEntry {
  /** after `zoo:` */
  name: string;
  /** the checkpoint's name at the release */
  file: string;
  /** `model_type` of what is inside */
  modelType: string;
  /** repository on the Hub of the dense model that it was made from; none where it was trained from scratch */
  base?: string;
  /** repository on the Hub whose tokenizer goes with it; models of images have none */
  tokenizer?: string;
}

/** The release, without a slash at its end. */
export const ZOO_RELEASE = "https://github.com/changwoolee/Gaudi-GBLR/releases/download/v1.0.0";

const PREFIX = "zoo:";

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

/** Whether a model is named as one of the zoo's, there or not. */
export const isZooName = (text: string): boolean => text.startsWith(PREFIX);

/** @param text with or without `zoo:` @throws ZooError naming those that there are */
export function zooEntry(text: string): ZooEntry {
  const name = isZooName(text) ? text.slice(PREFIX.length) : text;
  const found = ZOO.find((entry) => entry.name === name);
  if (found) return found;
  const names = ZOO.map((entry) => PREFIX + entry.name).join(", ");
  throw new ZooError(`is not in the zoo; there is ${names}`, { file: PREFIX + name.slice(0, 100) });
}

/** Where the zoo's files are kept: a folder beside the Hub's cache. @param cache HubAccess.cache */
export const zooFolder = (cache: string): string => join(dirname(cache), "gblr-zoo");

/** Something of the zoo that is not there, or does not come. */
export class ZooError extends FileError {
  override readonly name = "ZooError";
}
