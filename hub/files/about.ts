// What package.json says of this program, and where its code runs from: as sources in a clone, or as built JavaScript in
// the npm package. package.json is read as a file, because Node 20 warns of imported JSON.

import { readFileSync } from "node:fs";
import { z } from "zod";

const Facts = z.object({
  version: z.string(),
  description: z.string(),
  repository: z.object({ url: z.string() }).optional(),
});

/** Version, description and repository of this package. The build writes them into the folder of the built code, too. */
export const ABOUT = Facts.parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")));

/** File extension of the modules of this program: `.ts` in a clone, `.js` in the npm package. */
export const MODULE_EXTENSION = import.meta.url.endsWith(".js") ? ".js" : ".ts";

/** Whether this is the built code of the npm package. */
export const IS_BUILT = MODULE_EXTENSION === ".js";

/** The command that builds the native engine. */
export const BUILD_COMMAND = IS_BUILT ? "npm rebuild gblr" : "npm run build";

/** The command that builds the native engine even if it is up to date. */
export const BUILD_ANEW_COMMAND = IS_BUILT ? "npm rebuild gblr" : "npm run build -- --force";
