// `gblr watch`: shows runs in the browser while they are written, until Ctrl-C. The server is in workbench/watch; this file
// has the options and the text printed at the start.

import process from "node:process";
import type { Command } from "commander";
import { ServeError, serveRuns } from "../watch/index.ts";
import { CommandFailed, oneLine, verb } from "./shared/program.ts";
import { accessOf, addServerOptions, expectDifferent, type ServerFlags, stopSignal } from "./shared/server.ts";
import { paletteFor } from "./shared/terminal.ts";

interface WatchVerbOptions extends ServerFlags {
  json?: boolean;
}

const DEFAULT_PORT = 8010;

const SUMMARY = "show runs in the browser while they are written: loss, perplexity, FLOPs, widths";

// Lines of at most 78 characters: wider ones are broken again.
const DESCRIPTION = `
Shows the curves of one run or of several over each other: loss, perplexity,
relative FLOPs and the widths of layers. New lines of metrics.jsonl appear
within a second. A run may be resumed or started anew meanwhile, and a folder
need not exist yet.
`.trim();

export function addWatch(program: Command): void {
  const command = verb(program, {
    name: "watch",
    summary: SUMMARY,
    example: "gblr watch runs/gpt2-gaudi\ngblr watch runs/sweep/*",
  })
    .summary(SUMMARY)
    .description(DESCRIPTION)
    .argument("<runs...>", "run folders, each with a metrics.jsonl");
  addServerOptions(command, DEFAULT_PORT)
    .option("--json", "print one line of JSON on stdout when the server is ready: url, runs")
    .action(watch);
}

async function watch(runs: string[], options: WatchVerbOptions): Promise<void> {
  const access = accessOf(options);
  expectDifferent(runs);
  const { host, port, json = false } = options;
  const onFault = (error: unknown) => {
    process.stderr.write(`gblr: fault: ${oneLine(error instanceof Error ? error.message : String(error))}\n`);
  };
  const running = await serveRuns({ runs, host, port, ...access, onFault }).catch((error: Error) => {
    throw error instanceof ServeError ? new CommandFailed(error.message) : error;
  });
  const { bold } = paletteFor(process.stdout, process.env);
  const count = `${runs.length} ${runs.length === 1 ? "run" : "runs"}`;
  const greeting = `showing ${count} at ${bold(`${running.url}/`)}   (Ctrl-C stops the server)`;
  process.stdout.write(`${json ? JSON.stringify({ url: running.url, runs }) : greeting}\n`);
  await stopSignal();
  await running.close();
}
