// What the routes share: the models, the gate, and the visit of one request, from its entry through the gate to the end of
// its answer.

import { getConnInfo } from "@hono/node-server/conninfo";
import type { Context } from "hono";
import { ApiError } from "../web/api-error.ts";
import type { Gate } from "./gate.ts";
import type { Metrics } from "./metrics.ts";
import { CLIENT_GONE } from "./protocol/errors.ts";
import { type ChoiceEvent, type ChoiceRequest, generateChoices } from "./texts/choices.ts";
import type { ServedModel } from "./texts/served-model.ts";

/** What the app keeps with a request. */
export interface AppEnv {
  Variables: {
    /** resolves at the end of an answer that is sent in pieces */
    finished: Promise<void> | undefined;
  };
}

/** One request that generates texts. */
export interface Visit {
  /** who asks, for the order of the queue */
  client: string;
  /** aborted when the client is gone or the time is over */
  signal: AbortSignal;
  /** clock of its start, milliseconds */
  started: number;
  /** Ends the visit; texts that still run are stopped. */
  end(): void;
}

export interface ServiceOptions {
  models: ReadonlyMap<string, ServedModel>;
  gate: Gate;
  metrics: Metrics;
  /** longest time of a request, seconds */
  timeout: number;
}

/** The models and limits of a server. */
export class Service {
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly metrics: Metrics;
  readonly #gate: Gate;
  readonly #timeout: number;

  constructor({ models, gate, metrics, timeout }: ServiceOptions) {
    this.models = models;
    this.metrics = metrics;
    this.#gate = gate;
    this.#timeout = timeout;
  }

  /** The model of this name. @param name default: the first one @throws ApiError 404 if there is none */
  model(name: string | null | undefined): ServedModel {
    const [first] = this.models.values();
    const found = name == null ? first : this.models.get(name);
    if (found) return found;
    const known = [...this.models.keys()].map((each) => JSON.stringify(each)).join(", ");
    const message = `there is no model ${JSON.stringify(name)}; served: ${known}`;
    throw new ApiError(404, message, { param: "model", code: "model_not_found" });
  }

  /**
   * Lets a request in.
   * @param user named in the request. Default: its address
   * @throws ApiError if the server is full or shuts down
   */
  enter(c: Context<AppEnv>, user: string | null | undefined): Visit {
    const leave = this.#gate.enter();
    const stop = new AbortController();
    const client = c.req.raw.signal;
    const gone = () => stop.abort(CLIENT_GONE);
    if (client.aborted) gone();
    client.addEventListener("abort", gone);
    const late = () => stop.abort(new DOMException("the time of the request is over", "TimeoutError"));
    const timer = setTimeout(late, 1000 * this.#timeout);
    return {
      client: user ? `user ${user}` : `address ${addressOf(c)}`,
      signal: stop.signal,
      started: performance.now(),
      end() {
        clearTimeout(timer);
        client.removeEventListener("abort", gone);
        stop.abort(CLIENT_GONE);
        leave();
      },
    };
  }

  /** Generates texts and counts their tokens. */
  async *generate(
    model: ServedModel,
    requests: readonly ChoiceRequest[],
    { client, signal, started }: Visit,
  ): AsyncGenerator<ChoiceEvent> {
    const { metrics } = this;
    metrics.prompts(
      model.name,
      requests.reduce((sum, { prompt }) => sum + prompt.length, 0),
    );
    let isFirst = true;
    for await (const event of generateChoices(model, requests, { client, signal })) {
      if (event.kind === "text" && event.token) {
        metrics.generated(model.name, 1);
        if (isFirst) metrics.firstToken(model.name, (performance.now() - started) / 1000);
        isFirst = false;
      }
      yield event;
    }
  }
}

/** The address of the client; that of all clients is the same if the app runs without a server. */
function addressOf(c: Context<AppEnv>): string {
  return (c.env as object | undefined) && "incoming" in (c.env as object) ? (getConnInfo(c).remote.address ?? "") : "";
}
