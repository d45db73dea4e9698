// Serves language models over OpenAI's protocol. app.ts has the routes, scheduler/ the batch. This file joins them and
// listens.

import { isLoopback } from "../../hub/serve/index.ts";
import type { TextGenerator } from "../pipeline/generate.ts";
import { listen } from "../web/listen.ts";
import { createApp, type ServeEvent } from "./app.ts";
import { Gate } from "./gate.ts";
import { Metrics } from "./metrics.ts";
import { Service } from "./service.ts";
import { ServedModel } from "./texts/served-model.ts";

export { ServeError } from "../web/listen.ts";
export type { ServeEvent } from "./app.ts";

/** A model and the name by which requests ask for it. */
export interface NamedGenerator {
  name: string;
  generator: TextGenerator;
}

/** Options of a server. */
export interface ServeOptions {
  models: readonly NamedGenerator[];
  /** address to listen on. Default 127.0.0.1 */
  host?: string;
  /** 0, the default, takes any free port */
  port?: number;
  /** the key that requests need. Default: none */
  key?: string | undefined;
  /** whether only requests to a loopback name are answered. Default false */
  loopbackOnly?: boolean;
  /** origins whose web pages may send requests. Default: none */
  origins?: readonly string[];
  limits?: Partial<Limits>;
  log?: (event: ServeEvent) => void;
}

/** Limits of a server. */
export interface Limits {
  /** longest prompt and text together, in tokens. Default: the positions of the model, at most 2048 */
  context: number | undefined;
  /** tokens of all sequences of a model for which the cache has room. Default: four times the context */
  cacheTokens: number | undefined;
  /** texts of a model that are generated at the same time */
  concurrency: number;
  /** tokens of prompts that a turn of the batch processes at most */
  promptTokens: number;
  /** requests that may wait beside those that run */
  queue: number;
  /** longest time of a request, seconds */
  timeout: number;
  /** largest body of a request, bytes */
  bodyBytes: number;
}

/** The limits if no others are given. */
export const USUAL_LIMITS: Limits = {
  context: undefined,
  cacheTokens: undefined,
  concurrency: 8,
  promptTokens: 128,
  queue: 64,
  timeout: 600,
  bodyBytes: 4 * 2 ** 20,
};

/** A running server. */
export interface RunningServer {
  /** without a trailing slash */
  url: string;
  /** Refuses new requests and ends when all others are answered. */
  close(): Promise<void>;
}

/**
 * Starts a server. The generators must outlive it.
 * @throws ServeError if the address cannot be used; DataError if a chat template is invalid
 */
export async function serveModels(options: ServeOptions): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 0, key, origins = [], loopbackOnly = false, log = () => {} } = options;
  const limits = { ...USUAL_LIMITS, ...options.limits };
  const models = new Map<string, ServedModel>();
  const metrics = new Metrics(models);
  for (const { name, generator } of options.models) {
    const { context, cacheTokens, concurrency, promptTokens } = limits;
    const onTurn = metrics.turn.bind(metrics, name);
    const batch = { context, cacheTokens, concurrency, promptTokens, onTurn };
    models.set(name, await ServedModel.open(generator, { name, ...batch }));
  }
  const gate = new Gate({ most: limits.concurrency + limits.queue });
  const service = new Service({ models, gate, metrics, timeout: limits.timeout });
  const isHost = loopbackOnly ? isLoopback : undefined;
  const app = createApp({ service, key, origins, isHost, log, bodyBytes: limits.bodyBytes });
  const server = await listen(app.fetch, { host, port });
  return {
    url: server.url,
    async close() {
      await gate.close();
      await server.close();
      for (const model of models.values()) await model.dispose();
    },
  };
}
