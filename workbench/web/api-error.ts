// Errors that clients of a server get, in the form of OpenAI's protocol: one message, a type, and where it applies the
// parameter and a code. Status 4xx is what a request did wrong; 5xx means that the server failed.

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";

/** The body of an error. */
export const ErrorBody = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

interface ErrorFacts {
  /** type of the error. Default: `invalid_request_error` for 4xx, `server_error` for 5xx */
  type?: string;
  /** the field of the request that is wrong */
  param?: string | undefined;
  code?: string;
  headers?: Readonly<Record<string, string>>;
}

/** An error that a client gets. The message is one line. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly #facts: ErrorFacts;

  constructor(status: number, message: string, facts: ErrorFacts = {}) {
    super(message);
    this.status = status;
    this.headers = facts.headers ?? {};
    this.#facts = facts;
  }

  get body(): z.infer<typeof ErrorBody> {
    const { type = this.status < 500 ? "invalid_request_error" : "server_error", param, code } = this.#facts;
    return { error: { message: this.message, type, param: param ?? null, code: code ?? null } };
  }
}

/** A request with a wrong field. */
export const invalid = (message: string, param?: string, code?: string): ApiError =>
  new ApiError(400, message, { param, ...(code && { code }) });

/** Sends an error. */
export function sendError(c: Context, { status, body, headers }: ApiError): Response {
  return c.json(body, status as 400, { ...headers });
}
