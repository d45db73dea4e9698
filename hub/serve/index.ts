// A local Hub: a plain folder served over the protocol of huggingface.co, for work without a network and for tests. What
// it speaks is listed in docs/hub.md.

import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { authenticator, createSigner, type HubToken } from "./permissions.ts";
import { route } from "./routes.ts";
import { createHubServer, type HubEvent } from "./server.ts";
import { HubStore } from "./store/hub-store.ts";

export type { HubToken, Role } from "./permissions.ts";
export type { HubEvent } from "./server.ts";

export interface ServeOptions {
  /** `models/<owner>/<name>/…`, `datasets/<owner>/<name>/…` */
  folder: string;
  /** address to listen at */
  host?: string;
  /** 0: any that is free */
  port?: number;
  /** token that may write; one is made if it is not given. Begins with `hf_`, as official clients require */
  token?: string;
  /** further tokens */
  tokens?: readonly HubToken[];
  /** large files of more bytes go in parts, which are not sent twice */
  multipartFrom?: number;
  /** bytes of a part */
  partSize?: number;
  log?: (event: HubEvent) => void;
}

export interface ServedHub {
  /** without a slash at its end */
  url: string;
  /** may write; to be kept out of logs */
  token: string;
  /** ends all connections */
  close(): Promise<void>;
}

export class HubServeError extends Error {
  override readonly name = "HubServeError";
}

const MEBI = 2 ** 20;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i;

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** @throws {HubServeError} if the folder, the address or a token cannot be used */
export async function serveHub(options: ServeOptions): Promise<ServedHub> {
  const { folder, host = "127.0.0.1", port = 0, token = makeToken(), tokens = [], log = () => {} } = options;
  const { multipartFrom = 32 * MEBI, partSize = 16 * MEBI } = options;
  const all: HubToken[] = [{ token, role: "write" }, ...tokens];
  if (all.some(({ token }) => !/^hf_[\x21-\x7e]{5,}$/.test(token))) {
    throw new HubServeError("a token begins with hf_ and has at least 5 characters more, none of them blank");
  }
  const store = await HubStore.open(folder).catch((error: NodeJS.ErrnoException) => {
    const missing = error.code === "ENOENT" || error.code === "ENOTDIR";
    const reason = missing ? "there is no such folder; make it first" : error.message;
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
        new HubServeError(`${host}:${port} cannot be listened at: ${error.code ?? error.message}`, { cause: error }),
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
