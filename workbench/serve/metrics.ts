// The metrics of a server in Prometheus' text format. They count requests and tokens and never hold a text.

import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { TurnFacts } from "./scheduler/scheduler.ts";
import type { ServedModel } from "./texts/served-model.ts";

/** bounds of the histograms of times, seconds */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** Counts what a server does. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter("requests_total", "requests that were answered", ["path", "status"]);
  readonly #requestSeconds = this.#histogram("request_seconds", "time from a request to the end of its answer", [
    "path",
  ]);
  readonly #firstToken = this.#histogram("first_token_seconds", "time from a request to its first token", ["model"]);
  readonly #turnSeconds = this.#histogram("turn_seconds", "time of a turn of the batch", ["model"]);
  readonly #promptTokens = this.#counter("prompt_tokens_total", "tokens of prompts", ["model"]);
  readonly #textTokens = this.#counter("generated_tokens_total", "tokens that were generated", ["model"]);

  /** @param models whose load is shown; the map may grow */
  constructor(models: ReadonlyMap<string, ServedModel>) {
    const loads = (read: (model: ServedModel) => number) => () =>
      Array.from(models.values(), (model) => [model.name, read(model)] as const);
    this.#gauge(
      "sequences_running",
      "sequences in the batch",
      loads(({ scheduler }) => scheduler.load.running),
    );
    this.#gauge(
      "sequences_waiting",
      "sequences in the queue",
      loads(({ scheduler }) => scheduler.load.waiting),
    );
    this.#gauge(
      "cache_pages",
      "pages of the key/value cache",
      loads(({ scheduler }) => scheduler.load.pages),
    );
    this.#gauge(
      "cache_pages_used",
      "pages that sequences have",
      loads(({ scheduler }) => scheduler.load.usedPages),
    );
    new Gauge({
      name: "process_resident_memory_bytes",
      help: "resident memory of the server",
      registers: [this.#registry],
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics as text. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** @param path the route, not the address that was asked for, of which there are any number */
  answered(path: string, status: number, seconds: number): void {
    this.#requests.inc({ path, status: String(status) });
    this.#requestSeconds.observe({ path }, seconds);
  }

  prompts(model: string, tokens: number): void {
    this.#promptTokens.inc({ model }, tokens);
  }

  generated(model: string, tokens: number): void {
    this.#textTokens.inc({ model }, tokens);
  }

  firstToken(model: string, seconds: number): void {
    this.#firstToken.observe({ model }, seconds);
  }

  turn(model: string, { seconds }: TurnFacts): void {
    this.#turnSeconds.observe({ model }, seconds);
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `gblr_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, labelNames: string[]): Histogram {
    return new Histogram({ name: `gblr_${name}`, help, labelNames, buckets: SECONDS, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => (readonly [model: string, value: number])[]): void {
    new Gauge({
      name: `gblr_${name}`,
      help,
      labelNames: ["model"],
      registers: [this.#registry],
      collect() {
        for (const [model, value] of read()) this.set({ model }, value);
      },
    });
  }
}
