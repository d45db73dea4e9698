// A pull in a process of its own, for tests that kill it: bun pull-child.ts <endpoint> <cache> [offline]. Prints its last
// event, or the error.

import process from "node:process";
import { pull } from "../../../hub/pull/index.ts";
import { HASTY, REPO } from "./pulling.ts";

const [endpoint = "", cache = "", offline] = process.argv.slice(2);
try {
  let last: unknown;
  const access = { endpoint, cache, offline: offline !== undefined };
  for await (const event of pull(REPO, access, { patience: { ...HASTY, stallMs: 5000 } })) {
    if (event.kind === "waiting" || event.kind === "pulled") console.log(JSON.stringify(event));
    last = event;
  }
  process.exitCode = (last as { kind: string }).kind === "pulled" ? 0 : 1;
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
