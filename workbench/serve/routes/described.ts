// The description of a route for the OpenAPI document: what it takes, what it answers, and the errors of all routes.

import type { z } from "@hono/zod-openapi";
import { ErrorBody } from "../../web/api-error.ts";

interface Described<Request extends z.ZodType | undefined, Answer extends z.ZodType> {
  path: string;
  summary: string;
  /** body of a POST request. Default: it is a GET request */
  request?: Request;
  answer: Answer;
  /** whether the answer can come in pieces. Default false */
  streams?: boolean;
}

const ERRORS = {
  400: "the request is wrong",
  401: "the key is missing or wrong",
  404: "there is no such model or route",
  408: "the request took longer than the server allows",
  413: "the request is too large",
  415: "the request is not JSON",
  429: "the server is full; Retry-After says when to try again",
  500: "the server failed",
  503: "the server is shutting down",
} as const;

const json = <Schema extends z.ZodType>(schema: Schema) => ({ "application/json": { schema } });

/** The configuration of a POST route with a JSON body. */
export function describedRoute<Request extends z.ZodType, Answer extends z.ZodType>({
  path,
  summary,
  request,
  answer,
  streams = false,
}: Described<Request, Answer> & { request: Request }) {
  // Versions of OpenAPI differ in whether a schema is that of the stream or of each event, so there is none.
  const events = { "text/event-stream": { schema: {} } };
  return {
    method: "post" as const,
    path,
    summary,
    request: { body: { content: json(request), required: true } },
    responses: {
      200: { description: "the answer", content: { ...json(answer), ...(streams && events) } },
      ...errorAnswers(),
    },
  };
}

/** The configuration of a GET route. */
export function describedGet<Answer extends z.ZodType>({ path, summary, answer }: Described<undefined, Answer>) {
  const responses = { 200: { description: "the answer", content: json(answer) }, ...errorAnswers() };
  return { method: "get" as const, path, summary, responses };
}

type ErrorAnswer = { description: string; content: { "application/json": { schema: typeof ErrorBody } } };

const errorAnswers = () =>
  Object.fromEntries(
    Object.entries(ERRORS).map(([status, description]) => [status, { description, content: json(ErrorBody) }]),
  ) as Record<keyof typeof ERRORS, ErrorAnswer>;
