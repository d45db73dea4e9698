// Where the workbench keeps what it can make again, such as tokenised texts: GBLR_CACHE, or a folder of the user's cache.

import { homedir } from "node:os";
import { join } from "node:path";
import type { Environment } from "./terminal.ts";

export function workbenchCache({ GBLR_CACHE, XDG_CACHE_HOME, HOME }: Environment): string {
  return GBLR_CACHE || join(XDG_CACHE_HOME || join(HOME || homedir(), ".cache"), "gblr");
}
