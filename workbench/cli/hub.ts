// `gblr hub serve`: serves a folder as a local Hub until Ctrl-C. The server is in hub/serve; this file has the options,
// the text printed at the start, and the log.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { type HubEvent, HubServeError, isLoopback, type ServedHub, serveHub } from "../../hub/serve/index.ts";
import { CommandFailed, oneLine, UsageError, verb } from "./shared/program.ts";
import { type Palette, paletteFor } from "./shared/terminal.ts";

interface ServeVerbOptions {
  host: string;
  port: number;
  token?: string;
  verbose?: boolean;
  json?: boolean;
}

const DEFAULT_PORT = 8090;

const DESCRIPTION = `
Serves DIR over the protocol of huggingface.co, for work without a network.
The folders models/<owner>/<name> and datasets/<owner>/<name> in it are the
repositories. Pushed files appear in these folders, and the history is kept in
DIR/.gblr-hub. Anyone who can reach the address can read; writing needs the
token.
`.trim();

export function addHub(program: Command): void {
  const hub = program.command("hub").description("run a local Hub");
  verb(hub, {
    name: "serve",
    summary: "serve a folder as a local Hub",
    example:
      "gblr hub serve ~/hub\nHF_TOKEN=hf_mine gblr hub serve ~/hub --port 9000\nHF_ENDPOINT=http://127.0.0.1:8090 gblr pull gblr/gpt2-mini",
  })
    .summary("serve a folder as a local Hub")
    .description(DESCRIPTION)
    .argument("<dir>", "folder with models/ and datasets/, which are created when something is pushed")
    .option("--host <address>", "address to listen on; other than loopback, --token or HF_TOKEN is needed", "127.0.0.1")
    .option("--port <number>", "port to listen on; 0 takes a free one", parsePort, DEFAULT_PORT)
    .option("--token <token>", "token for writing (default: HF_TOKEN if set, else a generated one)")
    .option("--verbose", "log each request on stderr")
    .option("--json", "print one line of JSON on stdout when the server is ready: url, token, folder")
    .action(serveVerb);
}

async function serveVerb(
  folder: string,
  { host, port, token, verbose = false, json = false }: ServeVerbOptions,
): Promise<void> {
  const own = token ?? (process.env.HF_TOKEN || undefined);
  if (!isLoopback(host) && own === undefined) {
    throw new UsageError(
      `--host ${host} is reachable from other machines; set a token of your own with --token or HF_TOKEN`,
    );
  }
  if (own !== undefined && !own.startsWith("hf_")) {
    throw new UsageError(`${token ? "--token" : "HF_TOKEN"} must begin with hf_; official clients accept no other`);
  }
  const palette = paletteFor(process.stdout, process.env);
  const served = await serveHub({
    folder,
    host,
    port,
    ...(own !== undefined && { token: own }),
    log: (event) => {
      if (verbose || event.kind === "fault") process.stderr.write(`${logLine(event)}\n`);
    },
  }).catch((error: Error) => {
    throw error instanceof HubServeError ? new CommandFailed(error.message) : error;
  });
  const facts = { url: served.url, folder, ...(own === undefined && { token: served.token }) };
  process.stdout.write(`${json ? JSON.stringify(facts) : greeting(served, { folder, own, palette })}\n`);
  await stopSignal();
  await served.close();
}

/** The text at the start. It contains the token only if the token was generated, not if the user gave it. */
function greeting(
  { url, token }: ServedHub,
  { folder, own, palette }: { folder: string; own: string | undefined; palette: Palette },
): string {
  return [
    `serving ${palette.bold(folder)} at ${palette.bold(url)}   (Ctrl-C stops the server)`,
    `  ${palette.dim("read ")} HF_ENDPOINT=${url} gblr pull owner/name`,
    `  ${palette.dim("write")} HF_ENDPOINT=${url} HF_TOKEN=${own === undefined ? token : "…"} gblr push folder owner/name`,
  ].join("\n");
}

function logLine(event: HubEvent): string {
  if (event.kind === "fault") {
    return `gblr: fault at ${printable(event.path)}: ${oneLine(event.error instanceof Error ? event.error.message : String(event.error))}`;
  }
  const { method, path, status, took } = event;
  return `${new Date().toISOString()} ${status} ${printable(method)} ${printable(path)} ${took.toFixed(1)} ms`;
}

/** Replaces characters of a requested path that are unsafe to print, because clients can choose any path. */
function printable(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, "?").slice(0, 300);
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("It must be a number from 0 to 65535.");
  return port;
}
