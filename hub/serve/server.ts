// The HTTP server: turns node:http requests into HubRequest, replies into responses, and errors of handlers into one
// line. routes.ts decides which handler answers.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Authenticate } from "./api/permissions.ts";
import { type ByteBody, type HubReply, type HubRequest, json } from "./api/reply.ts";
import { HubRefusal, refusalFor } from "./store/refusal.ts";

/** An event for the log. */
export type HubEvent =
  | {
      kind: "request";
      method: string;
      /** without its query, which can contain signatures */
      path: string;
      status: number;
      /** in milliseconds */
      took: number;
    }
  /** an unexpected error; the client only gets status 500 */
  | { kind: "fault"; path: string; error: unknown };

/** What the server calls to answer and log requests. */
export interface ServerSettings {
  route(request: HubRequest): Promise<HubReply>;
  authenticate: Authenticate;
  /** whether a request's `Host` is accepted. Undefined accepts any */
  isHost: ((host: string) => boolean) | undefined;
  log(event: HubEvent): void;
}

const LONGEST_TARGET = 8192;

/** Makes the server. The caller starts it with `listen`. */
export function createHubServer(settings: ServerSettings): Server {
  // Bun may report neither "drain" nor "close" for a connection that breaks, and the answer then never ends. Its body
  // stays in this set, so that its file is closed when the server closes. Bun treats it as an error if garbage
  // collection closes a file.
  const sending = new Set<ByteBody>();
  const server = createServer({ requestTimeout: 0 }, (message, response) => {
    void serve(message, response, { settings, sending });
  });
  server.on("close", () => {
    for (const body of sending) void body.close().catch(() => {});
  });
  return server;
}

interface Serving {
  settings: ServerSettings;
  /** bodies of answers that have not ended */
  sending: Set<ByteBody>;
}

async function serve(
  message: IncomingMessage,
  response: ServerResponse,
  { settings, sending }: Serving,
): Promise<void> {
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
    reply = refused(refusal ?? new HubRefusal(500, "the Hub failed to answer this request; its log has the reason"));
  }
  const body = typeof reply.body === "object" ? reply.body : undefined;
  if (body) sending.add(body);
  try {
    await send(message, response, { reply, id });
  } catch {
    // The client disconnected, or the content could not be read to its end. Closing the socket tells the client. The
    // response is not destroyed, since Bun then sends an empty 200 if no header has been sent.
    message.socket.destroy();
  } finally {
    if (body) {
      await body.close().catch(() => {});
      sending.delete(body);
    }
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
  if (!/^[A-Za-z0-9._:[\]-]+$/.test(host)) throw new HubRefusal(400, "the request has no valid Host header");
  // A web page can make a browser send requests to a loopback address, but only with the page's own host name (DNS
  // rebinding).
  if (isHost && !isHost(host)) throw new HubRefusal(421, "this Hub serves loopback addresses only");
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  if (!path.startsWith("/")) throw new HubRefusal(400, "the address does not start with a slash");
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

/**
 * Yields the body.
 * @throws {HubRefusal} 400 if it is shorter than announced
 */
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

/** Official clients do not encode file names, so a percent sign may be part of a name. */
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
