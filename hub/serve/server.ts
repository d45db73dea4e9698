// The HTTP side: node:http requests in, replies out, whatever a handler throws turned into a line. What addresses mean
// is in routes.ts.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Authenticate } from "./permissions.ts";
import { HubRefusal, type HubReply, type HubRequest, json, refusalFor } from "./reply.ts";

export type HubEvent =
  | {
      kind: "request";
      method: string;
      /** without its query, which can hold signatures */
      path: string;
      status: number;
      /** milliseconds */
      took: number;
    }
  /** a fault of the server; the client was told nothing of it */
  | { kind: "fault"; path: string; error: unknown };

export interface ServerSettings {
  route(request: HubRequest): Promise<HubReply>;
  authenticate: Authenticate;
  /** `Host` that requests may name; any if undefined */
  isHost: ((host: string) => boolean) | undefined;
  log(event: HubEvent): void;
}

const LONGEST_TARGET = 8192;

export function createHubServer(settings: ServerSettings): Server {
  const server = createServer({ requestTimeout: 0 }, (message, response) => {
    void serve(message, response, settings);
  });
  return server;
}

async function serve(message: IncomingMessage, response: ServerResponse, settings: ServerSettings): Promise<void> {
  const started = performance.now();
  const method = message.method ?? "GET";
  const [path = "/"] = (message.url ?? "/").split("?");
  const id = randomUUID();
  let reply: HubReply;
  try {
    reply = await settings.route(readRequest(message, settings));
  } catch (error) {
    const refusal = refusalFor(error);
    if (!refusal && !message.destroyed) settings.log({ kind: "fault", path, error });
    reply = refused(refusal ?? new HubRefusal(500, "the Hub failed at this request; its log says why"));
  }
  try {
    await send(message, response, { reply, id });
  } catch {
    // The client went away, or the content could not be read to its end: the connection says so. Not by destroying the
    // response: Bun answers an empty 200 where no header has left yet.
    message.socket.destroy();
  } finally {
    if (typeof reply.body === "object") await reply.body.close().catch(() => {});
    settings.log({ kind: "request", method, path, status: reply.status, took: performance.now() - started });
  }
}

function readRequest(message: IncomingMessage, { authenticate, isHost }: ServerSettings): HubRequest {
  const target = message.url ?? "/";
  const header = (name: string) => {
    const value = message.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };
  if (target.length > LONGEST_TARGET)
    throw new HubRefusal(414, `the address is longer than ${LONGEST_TARGET} characters`);
  const host = header("host") ?? "";
  if (!/^[A-Za-z0-9._:[\]-]+$/.test(host)) throw new HubRefusal(400, "the request does not say which host it is for");
  // A page on the web can make a browser ask a loopback address, but under the page's own name.
  if (isHost && !isHost(host)) throw new HubRefusal(421, "this Hub serves loopback addresses only");
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  if (!path.startsWith("/")) throw new HubRefusal(400, "the address does not begin with a slash");
  return {
    method: message.method ?? "GET",
    segments: path.slice(1).split("/").map(decodeSegment),
    query: new URLSearchParams(query),
    header,
    body: bodyOf(message),
    base: `http://${host}`,
    target,
    caller: authenticate(header("authorization")),
  };
}

/** A body that ended before its time is an error here, not a short body. */
async function* bodyOf(message: IncomingMessage): AsyncGenerator<Uint8Array> {
  const announced = message.headers["content-length"];
  let received = 0;
  for await (const bytes of message as AsyncIterable<Uint8Array>) {
    received += bytes.length;
    yield bytes;
  }
  if (!message.complete || (announced !== undefined && received !== Number(announced))) {
    throw new HubRefusal(400, `the request ended after ${received} bytes; send it again`);
  }
}

/** Official clients do not encode the names of files, so a percent sign can be one. */
function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function refused({ status, code, message }: HubRefusal): HubReply {
  const line = message.replace(/\s+/g, " ");
  return json(
    { error: line },
    {
      status,
      headers: { "X-Error-Message": line.replace(/[^\x20-\x7e]/g, "?"), ...(code && { "X-Error-Code": code }) },
    },
  );
}

interface Sending {
  reply: HubReply;
  id: string;
}

async function send(message: IncomingMessage, response: ServerResponse, { reply, id }: Sending): Promise<void> {
  const { status, headers = {}, body } = reply;
  const length = typeof body === "string" ? Buffer.byteLength(body) : (body?.length ?? 0);
  response.writeHead(status, {
    ...headers,
    "X-Request-Id": id,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    ...(status !== 204 && status !== 304 && { "Content-Length": length }),
  });
  if (message.method === "HEAD" || length === 0) response.end();
  else if (typeof body === "object") await sendBytes(response, body.read());
  else response.end(body);
}

async function sendBytes(response: ServerResponse, content: AsyncIterable<Uint8Array>): Promise<void> {
  let closed = false;
  let wake = () => {};
  const onDrain = () => wake();
  const onClose = () => {
    closed = true;
    wake();
  };
  response.on("drain", onDrain).on("close", onClose).on("error", onClose);
  for await (const bytes of content) {
    if (closed) throw new Error("the client went away");
    if (response.write(bytes)) continue;
    await new Promise<void>((resolve) => {
      wake = resolve;
      if (closed) resolve();
    });
  }
  response.end();
}
