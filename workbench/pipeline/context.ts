// What an experiment is given besides its settings: the machine, the Hub, who asked. The command line fills it in.

import type { HubAccess } from "../../hub/access/repository.ts";
import type { Engine } from "../engine/core/types.ts";

export interface ExperimentContext {
  access: HubAccess;
  /** address of another copy of the zoo of released checkpoints. Default where they are released */
  zooRelease?: string | undefined;
  /** open, and current */
  engine: Engine;
  /** folder for what is made of data sets once: files of token ids in `tokens`, of images in `images` */
  cache: string;
  /** the recipe's name, e.g. `gpt2-wt103` */
  recipe: string;
  /** the command line as typed */
  command: string;
  /** by name, e.g. `gblr`, `libtorch` */
  versions: Readonly<Record<string, string>>;
  /** ends the experiment after the present step, with what is done kept */
  signal: AbortSignal;
}
