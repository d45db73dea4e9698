// The web application: what guards every route, and the routes. It knows requests and answers and no sockets, so it runs
// wherever Hono does.

import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { routePath } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import { ABOUT } from "../../hub/files/about.ts";
import { ofHost, withKey } from "../web/access.ts";
import { ApiError, invalid, sendError } from "../web/api-error.ts";
import { addPage, isPageFile } from "../web/page-files.ts";
import { apiErrorOf, FAILED, wrongRequest } from "./protocol/errors.ts";
import { addChat } from "./routes/chat.ts";
import { addCompletions } from "./routes/completions.ts";
import { addLayers } from "./routes/layers.ts";
import { addOperation } from "./routes/operation.ts";
import { addTokenizer } from "./routes/tokenizer.ts";
import type { AppEnv, Service } from "./service.ts";

/** An event for the log. It has no text of a request. */
export type ServeEvent =
  | { kind: "request"; method: string; path: string; status: number /** milliseconds */; took: number }
  /** an error that no client caused */
  | { kind: "fault"; path: string; error: unknown };

export interface AppOptions {
  service: Service;
  /** the key that requests need. Default: none */
  key?: string | undefined;
  /** origins whose web pages may send requests. Default: none */
  origins?: readonly string[];
  /** largest body of a request, bytes */
  bodyBytes: number;
  /** whether a `Host` is accepted. Default: any */
  isHost?: ((host: string) => boolean) | undefined;
  log: (event: ServeEvent) => void;
}

/** The routes that need no key: whether the server runs, and the files of the page, which asks for the key. */
const isOpen = (path: string): boolean => path === "/health" || isPageFile(path);

/** Makes the application. */
export function createApp({ service, key, origins = [], bodyBytes, isHost, log }: AppOptions): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw wrongRequest(result.error);
    },
  });
  const onFault = (c: Context<AppEnv>, error: unknown) => log({ kind: "fault", path: c.req.path, error });
  app.use(recorded(service, log));
  app.use(secureHeaders());
  if (origins.length > 0) app.use(cors({ origin: [...origins] }));
  if (isHost) app.use(ofHost(isHost));
  if (key !== undefined) app.use(withKey(key, isOpen));
  app.use(onlyJson, bodyLimit({ maxSize: bodyBytes, onError: () => tooLarge(bodyBytes) }));
  addOperation(app, service);
  addCompletions(app, service, (error) => log({ kind: "fault", path: "/v1/completions", error }));
  addChat(app, service, (error) => log({ kind: "fault", path: "/v1/chat/completions", error }));
  addTokenizer(app, service);
  addLayers(app, service);
  addPage(app, { title: "gblr serve", folder: "serve" });
  const info = { title: "gblr serve", version: ABOUT.version, description: "OpenAI's protocol for local models" };
  app.doc31("/openapi.json", { openapi: "3.1.0", info });
  app.notFound((c) => sendError(c, new ApiError(404, `there is no ${c.req.method} ${c.req.path}; see /openapi.json`)));
  app.onError((error, c) => {
    const known = apiErrorOf(error) ?? parseErrorOf(error);
    if (!known) onFault(c, error);
    return sendError(c, known ?? FAILED);
  });
  return app;
}

/** The error of a body that is not JSON. */
function parseErrorOf(error: unknown): ApiError | undefined {
  if (error instanceof HTTPException && error.status < 500) return invalid("the body of the request is not valid JSON");
  return undefined;
}

function tooLarge(most: number): never {
  throw new ApiError(413, `the body of the request is larger than ${most} bytes, the limit of the server`);
}

/** Counts and logs each request at the end of its answer. */
function recorded({ metrics }: Service, log: AppOptions["log"]): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const started = performance.now();
    await next();
    const { method, path } = c.req;
    const { status } = c.res;
    const record = () => {
      const took = performance.now() - started;
      metrics.answered(status === 404 ? "unknown" : routePath(c, -1), status, took / 1000);
      log({ kind: "request", method, path, status, took });
    };
    const finished = c.get("finished");
    if (finished) void finished.then(record);
    else record();
  };
}

/** Browsers send other types to any server without asking it. */
const onlyJson: MiddlewareHandler<AppEnv> = async (c, next) => {
  const type = c.req.header("content-type") ?? "";
  if (c.req.method === "POST" && !/^application\/json\s*(;|$)/i.test(type)) {
    throw new ApiError(415, "the body of the request must be JSON; send Content-Type: application/json");
  }
  await next();
};
