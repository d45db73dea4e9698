// Listens on an address: joins a web application, which knows requests and answers only, with sockets.

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";

/** The server cannot be started. The message is one line. */
export class ServeError extends Error {
  override readonly name = "ServeError";
}

/** A server that listens. */
export interface Listening {
  /** without a trailing slash */
  url: string;
  /** Takes no new connections, and closes those that are open, a second later at most. */
  close(): Promise<void>;
}

interface Address {
  host: string;
  /** 0 takes any free port */
  port: number;
}

/** time in which the head of a request, and all of it, must arrive, milliseconds */
const TIMES = { headersTimeout: 30_000, requestTimeout: 120_000 };

/** time for the end of the last answers to reach their clients, milliseconds */
const LAST_WORDS = 1000;

/** Starts a server for an application. @throws ServeError if the address cannot be used */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  { host, port }: Address,
): Promise<Listening> {
  const server = createAdaptorServer({ fetch, overrideGlobalObjects: false, serverOptions: TIMES }) as Server;
  await listening(server, { host, port });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        // Those that wait for another request of their client.
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), LAST_WORDS).unref();
      }),
  };
}

function listening(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ServeError(`${host}:${port} cannot be listened on: ${error.code ?? error.message}`, { cause: error }));
    });
    server.listen(port, host, () => resolve());
  });
}
