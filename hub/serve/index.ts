// A local Hub: it serves a plain folder over the protocol of huggingface.co (huggingface.co/docs/hub/api), for work
// without a network and for tests. docs/hub.md lists what it supports.

import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { authenticator, createSigner, type HubToken } from "./api/permissions.ts";
import { route } from "./routes.ts";
import { createHubServer, type HubEvent } from "./server.ts";
import { HubStore } from "./store/hub-store.ts";

export type { HubToken, Role } from "./api/permissions.ts";
export type { HubEvent } from "./server.ts";

/** Options of a local Hub. */
export interface ServeOptions {
  /** folder with `models/<owner>/<name>/…` and `datasets/<owner>/<name>/…` */
  folder: string;
  /** address to listen on. Default 127.0.0.1 */
  host?: string;
  /** 0, the default, takes any free port */
  port?: number;
  /** token that may write. It must start with `hf_`, as official clients require. Default: a random one */
  token?: string;
  /** further tokens, with their roles */
  tokens?: readonly HubToken[];
  /**
   * files of more bytes are uploaded in parts; parts that arrived are not sent again after an interruption. Default 32
   * MiB
   */
  multipartFrom?: number;
  /** bytes of a part. Default 16 MiB */
  partSize?: number;
  log?: (event: HubEvent) => void;
}

/** A running Hub. */
export interface ServedHub {
  /** without a trailing slash */
  url: string;
  /** the token that may write; it must not be logged */
  token: string;
  /** closes all connections */
  close(): Promise<void>;
}

/** The Hub cannot be started. The message is one line. */
export class HubServeError extends Error {
  override readonly name = "HubServeError";
}

const MEBI = 2 ** 20;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i;

/** Whether a host name or address is this machine's own. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * Starts a local Hub.
 * @throws {HubServeError} if the folder, the address or a token cannot be used
 */
export async function serveHub(options: ServeOptions): Promise<ServedHub> {
  const { folder, host = "127.0.0.1", port = 0, token = makeToken(), tokens = [], log = () => {} } = options;
  const { multipartFrom = 32 * MEBI, partSize = 16 * MEBI } = options;
  const all: HubToken[] = [{ token, role: "write" }, ...tokens];
  if (all.some(({ token }) => !/^hf_[\x21-\x7e]{5,}$/.test(token))) {
    throw new HubServeError("a token must start with hf_ and have at least 5 more characters, without spaces");
  }
  const store = await HubStore.open(folder).catch((error: NodeJS.ErrnoException) => {
    const missing = error.code === "ENOENT" || error.code === "ENOTDIR";
    const reason = missing ? "there is no such folder; create it first" : error.message;
    throw new HubServeError(`${folder} cannot be served: ${reason}`, { cause: error });
  });
  await store.recover();
  const transfers = { signer: createSigner(token), multipartFrom, partSize };
  const server = createHubServer({
    route: (request) => route(request, { store, transfers }),
    authenticate: authenticator(all),
    isHost: isLoopback(host) ? (name) => isLoopback(name.replace(/:\d+$/, "")) : undefined,
    log,
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(
        new HubServeError(`${host}:${port} cannot be listened on: ${error.code ?? error.message}`, { cause: error }),
      );
    });
    server.listen(port, host, () => resolve());
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    token,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function makeToken(): string {
  return `hf_local${randomBytes(20).toString("hex")}`;
}
