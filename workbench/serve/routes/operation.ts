// /v1/models, /health and /metrics: what the server has, and how it is.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { ErrorBody } from "../../web/api-error.ts";
import type { AppEnv, Service } from "../service.ts";
import type { ServedModel } from "../texts/served-model.ts";
import { describedGet } from "./described.ts";

const Model = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    max_model_len: z.int().openapi({ description: "longest prompt and text together, in tokens" }),
  })
  .openapi("Model");
const Models = z.object({ object: z.literal("list"), data: z.array(Model) }).openapi("Models");
const Health = z.object({ status: z.literal("ok") }).openapi("Health");

const models = createRoute(describedGet({ path: "/v1/models", summary: "The served models", answer: Models }));
const health = createRoute(describedGet({ path: "/health", summary: "Whether the server answers", answer: Health }));
/** Names of models contain slashes. */
const model = createRoute({
  ...describedGet({ path: "/v1/models/{model}", summary: "One served model", answer: Model }),
  request: { params: z.object({ model: z.string().openapi({ param: { name: "model", in: "path" } }) }) },
});
const metrics = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Metrics for Prometheus",
  responses: {
    200: { description: "the metrics", content: { "text/plain": { schema: z.string() } } },
    401: { description: "the key is missing or wrong", content: { "application/json": { schema: ErrorBody } } },
  },
});

/** Adds the routes. */
export function addOperation(app: OpenAPIHono<AppEnv>, service: Service): void {
  app.openapi(models, (c) =>
    c.json({ object: "list" as const, data: [...service.models.values()].map(described) }, 200),
  );
  app.openapi(model, (c) => c.json(described(service.model(c.req.valid("param").model)), 200));
  // The name with its slashes, as clients send it that do not encode them.
  app.get("/v1/models/:model{.+}", (c) => c.json(described(service.model(c.req.param("model"))), 200));
  app.openapi(health, (c) => c.json({ status: "ok" as const }, 200));
  app.openapi(metrics, async (c) => {
    const { metrics: found } = service;
    return c.text(await found.text(), 200, { "Content-Type": found.contentType });
  });
}

const described = ({ name, created, context }: ServedModel) => ({
  id: name,
  object: "model" as const,
  created,
  owned_by: "gblr",
  max_model_len: context,
});
