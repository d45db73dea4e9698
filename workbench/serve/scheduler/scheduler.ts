// Continuous batching: every turn processes the next tokens of all running sequences in one forward pass (Yu et al. 2022,
// Orca). Sequences join and leave between turns. Knows nothing of texts and of HTTP.

import { ShapeError } from "../../engine/core/errors.ts";
import { languageSizes, PAGE, type PagedCache, pagedCache } from "../../models/index.ts";
import type { Model } from "../../models/model.ts";
import { FairQueue } from "./fair-queue.ts";
import { planTurn } from "./plan.ts";
import { Sequence, type SequenceListener, type SequenceRequest } from "./sequence.ts";
import { processTurn } from "./turn.ts";

export interface SchedulerOptions {
  /** sequences that run at the same time */
  concurrency: number;
  /** tokens of all sequences for which the cache has room; at least those of the longest sequence */
  cacheTokens: number;
  /** tokens of prompts that a turn processes at most. More make long prompts faster and running texts less steady */
  promptTokens: number;
  /** called after each turn. Default: nothing */
  onTurn?: (turn: TurnFacts) => void;
}

/** What a turn did. */
export interface TurnFacts {
  seconds: number;
  /** number of sequences */
  sequences: number;
  /** tokens that were processed */
  tokens: number;
}

/** How busy a scheduler is. */
export interface Load {
  running: number;
  waiting: number;
  /** pages of the cache, and those that sequences have */
  pages: number;
  usedPages: number;
}

/** Generates texts of one model in a batch. */
export class Scheduler {
  readonly #model: Model;
  readonly #options: SchedulerOptions;
  readonly #cache: PagedCache;
  readonly #queue = new FairQueue<Sequence>();
  /** in the order in which they joined */
  #running: Sequence[] = [];
  #loop: Promise<void> | undefined;

  constructor(model: Model, options: SchedulerOptions) {
    this.#model = model;
    this.#options = options;
    this.#cache = pagedCache({ tokens: options.cacheTokens });
  }

  get load(): Load {
    const { pages, free } = this.#cache;
    return { running: this.#running.length, waiting: this.#queue.length, pages, usedPages: pages - free };
  }

  /**
   * Adds a sequence to the queue.
   * @returns cancels it; its listener then hears nothing more
   * @throws ShapeError if a setting is out of range, or the cache is too small for the sequence
   */
  submit(request: SequenceRequest, listener: SequenceListener): () => void {
    const { prompt, tokens } = request;
    const room = this.#cache.pages * PAGE;
    if (prompt.length + tokens - 1 > room) {
      throw new ShapeError(`serve: prompt and text must be at most ${room + 1} tokens, got ${prompt.length + tokens}`);
    }
    const sizes = languageSizes(this.#model);
    const sequence = new Sequence(request, { listener, cached: this.#cache.open(), sizes });
    this.#queue.push(request.client, sequence);
    this.#loop ??= this.#run();
    return () => {
      sequence.canceled = true;
      this.#queue.remove(sequence);
    };
  }

  /** Cancels all sequences and frees the memory, after the turn that runs. */
  async dispose(): Promise<void> {
    for (let next = this.#queue.take(); next; next = this.#queue.take()) next.canceled = true;
    for (const sequence of this.#running) sequence.canceled = true;
    await this.#loop;
    this.#cache.dispose();
  }

  async #run(): Promise<void> {
    // Those who submit in the same moment run in the same turn.
    await othersHadTheirTurn();
    while (this.#running.length + this.#queue.length > 0) {
      this.#leave(this.#running.filter(({ canceled }) => canceled));
      this.#join();
      await this.#turn();
      await othersHadTheirTurn();
    }
    this.#loop = undefined;
  }

  /** Takes sequences from the queue while there is room for their tokens so far. */
  #join(): void {
    while (this.#running.length < this.#options.concurrency) {
      const next = this.#queue.take();
      if (!next) return;
      if (!next.cached.reserve(next.pending)) {
        this.#queue.giveBack(next);
        return;
      }
      this.#running.push(next);
    }
  }

  #leave(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) sequence.cached.release();
    if (sequences.length > 0) this.#running = this.#running.filter((each) => !sequences.includes(each));
  }

  async #turn(): Promise<void> {
    const idle = this.#running.filter(({ pending }) => pending === 0);
    for (const sequence of idle) this.#deliver(sequence, []);
    // Making room for one text may send a later one back to the queue.
    for (const sequence of [...this.#running]) if (this.#running.includes(sequence)) this.#makeRoom(sequence);
    const planned = planTurn(this.#running, this.#options.promptTokens);
    if (planned.length === 0) return;
    const parts = planned.map(({ part }) => part);
    const started = performance.now();
    let logits: Float32Array[][];
    try {
      logits = await processTurn(this.#model, this.#cache, parts);
    } catch (error) {
      this.#leave(planned.map(({ sequence }) => sequence));
      for (const { sequence } of planned) if (!sequence.canceled) sequence.listener.failed(error);
      return;
    }
    for (const [i, { sequence }] of planned.entries()) this.#deliver(sequence, logits[i] ?? []);
    const tokens = parts.reduce((sum, { ids }) => sum + ids.length, 0);
    this.#options.onTurn?.({ seconds: (performance.now() - started) / 1000, sequences: parts.length, tokens });
  }

  #deliver(sequence: Sequence, logits: readonly Float32Array[]): void {
    if (sequence.canceled) return;
    try {
      const reason = sequence.take(logits);
      if (reason === undefined) return;
      this.#leave([sequence]);
      sequence.listener.ended(reason);
    } catch (error) {
      this.#leave([sequence]);
      sequence.listener.failed(error);
    }
  }

  /** Reserves the pages of a sequence. While there are too few, the sequence that joined last waits again. */
  #makeRoom(sequence: Sequence): void {
    while (!sequence.cached.reserve(sequence.cached.length + sequence.pending)) {
      const last = this.#running.pop() as Sequence;
      last.cached.release();
      this.#queue.giveBack(last);
      if (last === sequence) return;
    }
  }
}

/** Rounds of the event loop that a request needs from its arrival to its first line here. */
const ROUNDS = 4;

/** Engines compute without waiting for the event loop, which has to run for requests to be noticed. */
async function othersHadTheirTurn(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) await new Promise((resolve) => setImmediate(resolve));
}
