// Runs the tests of ops and kernels under Deno on every engine that it has, webgpu among them:
//
//   bun run test:deno

import "../kernels.test.ts";
import "./adamw.test.ts";
import "./attention.test.ts";
import "./cross-entropy.test.ts";
import "./dropout.test.ts";
import "./embedding.test.ts";
import "./gelu.test.ts";
import "./layer-norm.test.ts";
import "./linear.test.ts";
import "./pytorch.test.ts";
import { run } from "./deno-bun-test.ts";

await run();
