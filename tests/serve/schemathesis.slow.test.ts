// Requests that PyPI's schemathesis makes from the server's own OpenAPI document, valid and malformed ones: each answer is
// one that the document describes, and none is an error of the server. $GBLR_TEST_EXAMPLES is the number of random requests
// for each route, by default 20; 520 make 5000 requests in all.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import process from "node:process";
import { openEngine } from "../../workbench/engine/core/open.ts";
import { writeChatModel } from "../cli/chat-model.ts";
import { ENGINES } from "../engine/engines.ts";
import { temporaryFolder } from "../hub/temporary.ts";
import { PATIENCE, pythonWith } from "../python/python.ts";
import { type Serving, serveFolder } from "./serving.ts";

const at = temporaryFolder();
const python = pythonWith("schemathesis");
const EXAMPLES = Number(process.env.GBLR_TEST_EXAMPLES ?? 20);
const KEY = "secret";
let served: Serving;

beforeAll(async () => {
  await openEngine(ENGINES[0]?.options);
  await writeChatModel(at("tiny"), { positions: 128 });
  served = await serveFolder(at("tiny"), { key: KEY });
}, PATIENCE);
afterAll(() => served?.end());

const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
];

/** Runs the command of schemathesis while this process serves. */
function schemathesis(...args: string[]): Promise<{ code: number | null; output: string }> {
  const command = ["run", `${served.url}/openapi.json`, ...args];
  // It keeps files in its working directory.
  const child = spawn(join(dirname(python as string), "st"), command, { cwd: at(".") });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return new Promise((done) => child.on("close", (code) => done({ code, output })));
}

test.skipIf(!python)(
  "no request is answered with an error of the server, or with what the document does not describe",
  async () => {
    const how = ["--header", `Authorization: Bearer ${KEY}`, "--phases", "coverage,fuzzing", "--no-color"];
    const random = ["--max-examples", `${EXAMPLES}`, "--seed", "1", "--generation-database", "none"];
    const { code, output } = await schemathesis(...how, ...random, "--checks", CHECKS.join());
    expect(code === 0 ? "" : output).toBe("");
    const [, count] = /(\d+) generated, \1 passed/.exec(output) ?? [];
    expect(Number(count)).toBeGreaterThan(9 * EXAMPLES);
    expect(served.events.filter(({ kind }) => kind === "fault")).toEqual([]);
    // The server has seen them: each is a request.
    expect(served.events.length).toBeGreaterThanOrEqual(Number(count));
  },
  (60 + EXAMPLES) * 10_000,
);
