// What a client is told of an error of a model or of a request. Everything that a request can do wrong has status 4xx; 5xx
// means that the server or the model failed.

import type { z } from "@hono/zod-openapi";
import { DataError } from "../../data/index.ts";
import { ShapeError } from "../../engine/core/errors.ts";
import { NoTokenLeft } from "../../models/index.ts";
import { ApiError, invalid } from "../../web/api-error.ts";

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
