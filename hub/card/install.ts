// How a reader of a card comes to the `gblr` command and package, which no package registry has. The one place that says it.

import packageJson from "../../package.json" with { type: "json" };
import { codeBlock } from "./markdown.ts";

const { repository } = packageJson as { repository?: { url?: string } };

const CLONE = repository?.url === undefined ? "a clone of its repository" : `a clone of ${repository.url}`;

/** Paragraphs: what gblr is, and what installs its command. */
export const COMMAND_INSTALLATION = [
  `\`gblr\` is the command of the GBLR workbench, which no package registry has. To install it, run this in ${CLONE}:`,
  codeBlock("sh", "npm install\nnpm install --global bun ."),
].join("\n\n");

/** What makes `import … from "gblr/…"` work in a project. */
export const PACKAGE_INSTALLATION = "`npm install path/to/the/clone`";
