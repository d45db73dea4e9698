// Who may ask a server: the name under which it is asked, and the key. Web pages of other origins are kept out by the
// browser, as long as a server does not allow them (CORS).

import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { ApiError } from "./api-error.ts";

/** Answers only requests to a host name that is accepted. */
export function ofHost(isHost: (host: string) => boolean): MiddlewareHandler {
  // A web page can send requests to a loopback address, but only with its own host name (DNS rebinding).
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    if (!isHost(host.replace(/:\d+$/, ""))) {
      throw new ApiError(421, "this server answers requests to loopback addresses only");
    }
    await next();
  };
}

/** Answers only requests with the key. @param isOpen whether a path needs no key */
export function withKey(key: string, isOpen: (path: string) => boolean): MiddlewareHandler {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(key);
  return async (c, next) => {
    const [, given] = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
    if (!isOpen(c.req.path)) {
      // Digests have equal lengths, and their comparison takes equal time.
      const matches = given !== undefined && timingSafeEqual(digest(given), expected);
      if (!matches) throw unauthorized(given === undefined ? "is missing" : "is wrong");
    }
    await next();
  };
}

function unauthorized(what: string): ApiError {
  const headers = { "WWW-Authenticate": "Bearer" };
  const facts = { type: "authentication_error", code: "invalid_api_key", headers };
  return new ApiError(401, `the key ${what}; send "Authorization: Bearer …" with the key of the server`, facts);
}
