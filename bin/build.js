#!/usr/bin/env node
// Builds the native engine. Package managers call it with --install after the installation; it then never fails.

import { start } from "./start.js";

await (await start("native/build"))?.runBuild();
