// An HTTP proxy that spoils what passes through it: connections that break, bodies cut short or with a wrong byte,
// answers of a server that is busy or asleep. Which request meets what follows from a seed. For tests of clients and of
// the local Hub; the proxy keeps the client's Host, so that addresses in answers lead through it again.

import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Fault =
  /** the connection breaks before the server has heard of the request */
  | "reset"
  /** the server does what was asked; its answer is lost */
  | "lose"
  /** the answer ends somewhere, though its Content-Length says otherwise */
  | "truncate"
  /** one byte of the answer's body is another */
  | "corrupt"
  /** the request's body ends somewhere, and the connection with it */
  | "truncate-upload"
  /** one byte of the request's body is another */
  | "corrupt-upload"
  /** 503 with Retry-After: 0 */
  | "busy"
  /** no answer for `stallMs` milliseconds, then a broken connection */
  | "stall";

export const FAULTS: readonly Fault[] = [
  "reset",
  "lose",
  "truncate",
  "corrupt",
  "truncate-upload",
  "corrupt-upload",
  "busy",
  "stall",
];

export interface FaultyProxyOptions {
  /** address of the server behind, without a slash at its end */
  target: string;
  seed: number;
  /** share of requests that meet a fault, 0 … 1 */
  rate?: number;
  faults?: readonly Fault[];
  /** requests that may meet a fault; default all */
  only?: (method: string, path: string) => boolean;
  stallMs?: number;
}

export interface FaultyProxy {
  url: string;
  /** how often each fault was injected, and how many requests there were */
  counts: Record<Fault | "requests", number>;
  /** a test can let the storm pass */
  rate: number;
  /** where requests go; a server that was started again can have another address */
  target: string;
  close(): Promise<void>;
}

export async function faultyProxy(options: FaultyProxyOptions): Promise<FaultyProxy> {
  const { target, seed, rate = 0.3, faults = FAULTS, only = () => true, stallMs = 500 } = options;
  const random = mulberry32(seed);
  const counts = Object.fromEntries(["requests", ...FAULTS].map((name) => [name, 0])) as FaultyProxy["counts"];
  const server = createServer({ requestTimeout: 0 }, (message, response) => {
    counts.requests++;
    const draw = random();
    const which = faults[Math.floor(random() * faults.length)];
    const at = random();
    const fault = draw < proxy.rate && only(message.method ?? "", message.url ?? "") ? which : undefined;
    if (fault) counts[fault]++;
    pass(message, response, { target: proxy.target, fault, at, stallMs });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    counts,
    rate,
    target,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}

interface Passing {
  target: string;
  fault: Fault | undefined;
  /** where in a body the fault is, 0 … 1 */
  at: number;
  stallMs: number;
}

function pass(message: IncomingMessage, response: ServerResponse, { target, fault, at, stallMs }: Passing): void {
  const cut = () => {
    message.socket.destroy();
  };
  message.on("error", () => {});
  response.on("error", () => {});
  if (fault === "reset" || fault === "stall") {
    setTimeout(cut, fault === "stall" ? stallMs : 0);
    return;
  }
  if (fault === "busy") {
    message.resume();
    response.writeHead(503, { "Retry-After": "0", "Content-Length": 0 }).end();
    return;
  }
  const { hostname, port } = new URL(target);
  const upstream = request(
    { hostname, port, method: message.method, path: message.url, headers: message.headers, agent: false },
    (answer) => {
      answer.on("error", cut);
      if (fault === "lose") {
        answer.resume();
        answer.on("end", cut);
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
      const length = Number(answer.headers["content-length"] ?? 0);
      const bodyFault = { truncate: "cut", corrupt: "change" }[fault as string];
      spoil(answer, length, {
        how: bodyFault,
        at,
        write: (bytes) => response.write(bytes),
        end: () => response.end(),
        cut,
      });
    },
  );
  upstream.on("error", cut);
  message.on("aborted", () => upstream.destroy());
  const bodyFault = { "truncate-upload": "cut", "corrupt-upload": "change" }[fault as string];
  spoil(message, Number(message.headers["content-length"] ?? 0), {
    how: bodyFault,
    at,
    write: (bytes) => upstream.write(bytes),
    end: () => upstream.end(),
    cut: () => {
      upstream.destroy();
      cut();
    },
  });
}

interface Spoiling {
  how: string | undefined;
  at: number;
  write(bytes: Uint8Array): void;
  end(): void;
  cut(): void;
}

/** Passes a body on; the byte at the place is where it ends or changes. */
function spoil(body: IncomingMessage, length: number, { how, at, write, end, cut }: Spoiling): void {
  const place = Math.floor(at * length);
  let done = 0;
  let ended = false;
  body.on("data", (chunk: Uint8Array) => {
    if (ended) return;
    const inside = place - done;
    done += chunk.length;
    if (how === undefined || inside < 0 || inside >= chunk.length) {
      write(chunk);
      return;
    }
    if (how === "cut") {
      ended = true;
      if (inside > 0) write(chunk.subarray(0, inside));
      // Time for what was written to leave.
      setTimeout(cut, 5);
      return;
    }
    const changed = Uint8Array.from(chunk);
    changed[inside] = (changed[inside] as number) ^ 0x20;
    write(changed);
  });
  body.on("end", () => {
    if (!ended) end();
  });
}

/** Small and even enough for a choice of faults. Uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
