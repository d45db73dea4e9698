#!/usr/bin/env node
// The `gblr` command.

import { start } from "./start.js";

await start("workbench/cli/gblr");
