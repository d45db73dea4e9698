// Errors in the form of OpenAI's protocol: one message, a type, and where it applies the parameter and a code. Everything
// that a request can do wrong has status 4xx; 5xx means that the server or the model failed.

import { z } from "@hono/zod-openapi";
import { DataError } from "../../data/index.ts";
import { ShapeError } from "../../engine/core/errors.ts";
import { NoTokenLeft } from "../../models/index.ts";

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

/** Clients repeat a request after some errors. It would fail again after these. */
const NOT_AGAIN = { "x-should-retry": "false" };

/** The error as a client gets it; undefined if it is none that the client caused. */
export function apiErrorOf(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (error instanceof ShapeError || error instanceof NoTokenLeft) return invalid(lineOf(error));
  // Only a chat template fails with it while a request is answered.
  if (error instanceof DataError) return invalid(lineOf(error), "messages");
  if (error instanceof Error && error.name === "TimeoutError") {
    const message = "the request took longer than the server allows; ask for fewer tokens or texts";
    return new ApiError(408, message, { type: "timeout_error", code: "timeout", headers: NOT_AGAIN });
  }
  return undefined;
}

/** What a client is told of a failure that it did not cause. */
export const FAILED = new ApiError(500, "the server failed to answer this request; its log has the reason", {
  headers: NOT_AGAIN,
});

/** The error with which texts stop whose client is gone. Nobody gets it; the status is for the log. */
export const CLIENT_GONE = new ApiError(499, "the client went away");

const lineOf = ({ message }: Error): string => message.replace(/\s*\n\s*/g, " ");

/** The first thing that is wrong with a request, as an error. */
export function wrongRequest({ issues }: z.ZodError): ApiError {
  const [issue] = issues;
  const param = issue?.path.map(String).join(".") || undefined;
  const rule = (issue?.message ?? "is wrong").replace(/^Invalid input: /, "");
  return invalid(param === undefined ? `the request is wrong: ${rule}` : `${param}: ${rule}`, param);
}
