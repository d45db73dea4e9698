// Options and conduct that the servers among the verbs share: the address, the key, and the end at a signal.

import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { isLoopback } from "../../../hub/serve/index.ts";
import { UsageError } from "./program.ts";

/** The options that `addServerOptions` adds. */
export interface ServerFlags {
  host: string;
  port: number;
  apiKey?: string;
}

/** Adds --host, --port and --api-key. */
export function addServerOptions(command: Command, defaultPort: number): Command {
  return command
    .option("--host <address>", "address to listen on; other than loopback, a key is needed", "127.0.0.1")
    .option("--port <number>", "port to listen on; 0 takes a free one", parsePort, defaultPort)
    .option("--api-key <key>", "key that requests need (default: GBLR_API_KEY if set, else none)");
}

/** Who may ask a server. */
export interface Access {
  /** the key that requests need */
  key: string | undefined;
  /** whether only requests to a loopback name are answered */
  loopbackOnly: boolean;
}

/** Who may ask, by the options. @throws UsageError if the server needs a key and has none */
export function accessOf({ host, apiKey }: ServerFlags): Access {
  const key = apiKey ?? (process.env.GBLR_API_KEY || undefined);
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new UsageError("the key must be of ASCII characters without spaces, at least one");
  }
  if (key === undefined && !isLoopback(host)) {
    throw new UsageError(`--host ${host} is reachable from other machines; set a key with --api-key or GBLR_API_KEY`);
  }
  // With a key, a web page that is not allowed cannot use the server under any name.
  return { key, loopbackOnly: isLoopback(host) && key === undefined };
}

/** Resolves at the first signal; a second one ends the process. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (stopping) process.exit(signal === "SIGINT" ? 130 : 143);
        stopping = true;
        resolve();
      });
    }
  });
}

/** Checks that nothing is named twice. @throws UsageError that names it */
export function expectDifferent(names: readonly string[]): void {
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new UsageError(`${repeated} is named twice`);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("It must be a number from 0 to 65535.");
  return port;
}
