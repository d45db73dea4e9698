// The addon's tests with AddressSanitizer and UndefinedBehaviorSanitizer compiled in: `npm run test:sanitize [-- files…]`.
// Builds into a folder of its own. The runtime is not instrumented, so the sanitizer's library is loaded before it.

import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildFolder } from "../../native/build-state.ts";
import { compiler } from "../../native/compile.ts";

/** What reaches the addon's own code: its functions, its operators, and the kernels that call them. */
const TESTS = [
  "tests/native/addon.test.ts",
  "tests/engine/torch.test.ts",
  "tests/engine/bfloat16.test.ts",
  "tests/engine/ops",
  "tests/engine/kernels",
  ...["gblr-weight", "mask", "packed", "prepared-forms", "torch-compositions"].map(
    (name) => `tests/gblr/${name}.test.ts`,
  ),
];

const env = { ...process.env, GBLR_ADDON: join(buildFolder, "sanitized") };
const run = (args: string[], more: Record<string, string> = {}): number =>
  spawnSync(process.execPath, args, { stdio: "inherit", env: { ...env, ...more } }).status ?? 1;

const library = (name: string): string =>
  execFileSync(compiler(), [`-print-file-name=${name}`], { encoding: "utf8" }).trim();

const asked = process.argv.slice(2);
process.exitCode =
  run(["native/build.ts", "--sanitize"]) ||
  run(["test", "--timeout", "240000", ...(asked.length > 0 ? asked : TESTS)], {
    // The C++ library with it, where it looks for the function that throws.
    LD_PRELOAD: ["libasan.so", "libstdc++.so.6"].map(library).join(" "),
    // The runtime and libtorch leave memory to the end of the process, which are no leaks of ours.
    ASAN_OPTIONS: "detect_leaks=0:abort_on_error=0",
    UBSAN_OPTIONS: "print_stacktrace=1",
  });
