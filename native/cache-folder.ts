// The folder for files that the workbench can make again, such as tokenized texts: GBLR_CACHE, or one in the user's
// cache.

import { homedir } from "node:os";
import { join } from "node:path";

export function workbenchCache(environment: Readonly<Record<string, string | undefined>>): string {
  const { GBLR_CACHE, XDG_CACHE_HOME, HOME } = environment;
  return GBLR_CACHE || join(XDG_CACHE_HOME || join(HOME || homedir(), ".cache"), "gblr");
}
