// The processes of a run that exchange tensors. PyTorch's c10d does it, with Gloo, through the native engine; there is no
// Python. Collectives change tensors in place, and run while JavaScript goes on until their promise is awaited.

import { setTimeout } from "node:timers/promises";
import { add, dispose, scalar, type Tensor, tensor1d, tidy, type Variable, zeros } from "@tensorflow/tfjs-core";
import type { Addon, Handle } from "../engine/backends/torch/addon.ts";
import { dataOf, openAddon } from "../engine/backends/torch/aten.ts";
import { EngineError } from "../engine/core/errors.ts";
import type { Place } from "./place.ts";

/** How tensors are put together: element by element. */
export type Reduction = "sum" | "max" | "min";

export interface JoinOptions {
  /** seconds to wait for other ranks, when joining and in each collective. Default 600 */
  timeout?: number;
  /** network interface to exchange tensors through, e.g. `eth0`. Default: the one of the host's name */
  interface?: string;
}

const TIMEOUT = 600;
/** Milliseconds between two looks for a text. */
const [SHORTEST_PAUSE, LONGEST_PAUSE] = [5, 250];
const LOOPBACK = "127.0.0.1";

/** What rank 0 sends to the others. */
interface Sent {
  text?: string;
  /** the reason why it ends */
  failure?: string;
  /** whether its signal ends it */
  stopped?: true;
}

/** Whether a process does what only one may do, such as writing files: it is the first one, or the only one. */
export const isFirst = (ranks: ProcessGroup | undefined): boolean => ranks === undefined || ranks.rank === 0;

/** Whether this build of the native engine can form process groups. */
export const hasProcessGroups = (): boolean => openAddon().hasProcessGroups();

/** The signal of another process has ended work that is shared with this one. */
export class StoppedError extends Error {
  override readonly name = "StoppedError";
}

/** The processes of a run. */
export class ProcessGroup {
  readonly rank: number;
  readonly size: number;
  private readonly addon: Addon;
  private readonly group: number;
  private readonly timeout: number;
  /** number of texts that rank 0 has sent, or this rank has asked for */
  private texts = 0;
  /** what the run is doing, e.g. `step 30`, which errors name */
  during: string | undefined;

  private constructor({ rank, size }: Place, { group, timeout }: { group: number; timeout: number }) {
    this.rank = rank;
    this.size = size;
    this.addon = openAddon();
    this.group = group;
    this.timeout = timeout;
  }

  /**
   * Joins the other processes; ends when all have joined.
   * @throws EngineError if libtorch has no process groups, if the meeting point cannot be reached, or if ranks are missing
   */
  static async join(
    place: Place,
    { timeout = TIMEOUT, interface: network = "" }: JoinOptions = {},
  ): Promise<ProcessGroup> {
    const { rank, size, localSize, meeting, restarts } = place;
    const { address, port } = meeting;
    const addon = openAddon();
    if (!addon.hasProcessGroups()) {
      throw new EngineError("this libtorch has no process groups", "build the native engine with PyTorch's wheel");
    }
    const serves: 0 | 1 = rank === 0 ? 1 : 0;
    // All on one machine: its name may stand for an address that is not reachable.
    const host = network === "" && localSize === size ? LOOPBACK : "";
    try {
      const prefix = `gblr/${restarts}`;
      const group = await addon.joinGroup(address, port, serves, prefix, rank, size, timeout, network, host);
      return new ProcessGroup(place, { group, timeout });
    } catch (cause) {
      throw new EngineError(
        `rank ${rank} of ${size} did not meet the others at ${address}:${port} within ${timeout} s: ${firstLine(cause)}`,
        "see that all ranks run, and that this address is reachable",
        { cause },
      );
    }
  }

  /** Replaces each tensor by its reduction over all ranks. Tensors have one dtype, and the same shapes on all ranks. */
  allReduce(tensors: readonly Tensor[], reduction: Reduction = "sum"): Promise<void> {
    if (tensors.length === 0) return Promise.resolve();
    return this.run("allReduce", () => this.addon.allReduce(this.group, tensors.map(handleOf), reduction));
  }

  /** Replaces a tensor by that of the rank `root`. */
  broadcast(tensor: Tensor, root = 0): Promise<void> {
    return this.run("broadcast", () => this.addon.broadcast(this.group, [handleOf(tensor)], root));
  }

  /** Writes the tensors of all ranks into `gathered`, whose shape is [size, …shape of `tensor`]. */
  allGather(tensor: Tensor, gathered: Tensor): Promise<void> {
    return this.run("allGather", () => this.addon.allGather(this.group, [handleOf(tensor)], [handleOf(gathered)]));
  }

  /** The texts of all ranks, in the order of ranks. */
  async gather(text: string): Promise<string[]> {
    const bytes = new TextEncoder().encode(text);
    // Tensors have the same size on all ranks: that of the longest text, after the number of its bytes.
    const words = new Int32Array(1 + Math.ceil((await this.largest(bytes.length)) / 4));
    words[0] = bytes.length;
    new Uint8Array(words.buffer, 4).set(bytes);
    const own = tensor1d(words, "int32");
    const all = zeros([this.size, words.length], "int32");
    try {
      await this.allGather(own, all);
      const gathered = (await all.data()) as Int32Array;
      return Array.from({ length: this.size }, (_, rank) => {
        const [length, ...content] = gathered.subarray(rank * words.length, (rank + 1) * words.length);
        return new TextDecoder().decode(new Uint8Array(Int32Array.from(content).buffer, 0, length));
      });
    } finally {
      dispose([own, all]);
    }
  }

  /** The largest of the whole numbers of all ranks, each less than 2^31. */
  private async largest(number: number): Promise<number> {
    const largest = tensor1d([number], "int32");
    try {
      await this.allReduce([largest], "max");
      return (await largest.data())[0] as number;
    } finally {
      largest.dispose();
    }
  }

  /** Ends when all ranks have reached it. */
  barrier(): Promise<void> {
    return this.run("barrier", () => this.addon.barrier(this.group));
  }

  /** Sends a text from rank 0 to all others, which `told` gives there. */
  tell(text: string): Promise<void> {
    return this.send({ text });
  }

  /** Sends the reason why rank 0 ends, with which `told` of the others fails. Gives those who wait the time to read it. */
  async tellFailure(reason: string): Promise<void> {
    await this.send({ failure: reason });
    await setTimeout(4 * LONGEST_PAUSE);
  }

  /** Tells the others that the signal of rank 0 ends it; `told` of the others throws StoppedError then. */
  async tellStopped(): Promise<void> {
    await this.send({ stopped: true });
    await setTimeout(4 * LONGEST_PAUSE);
  }

  /**
   * The next text of rank 0. It is waited for as long as it takes, or until the signal.
   * @throws EngineError if rank 0 has failed instead, StoppedError if it was stopped
   */
  async told(signal?: AbortSignal): Promise<string> {
    const key = `told/${this.texts++}`;
    for (let pause = SHORTEST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      const sent = await this.addon.storeGet(this.group, key).catch((cause) => this.fail("told", cause));
      if (sent !== undefined) return this.textOf(JSON.parse(sent) as Sent);
      await setTimeout(pause, undefined, signal && { signal });
    }
  }

  private send(sent: Sent): Promise<void> {
    const key = `told/${this.texts++}`;
    return this.addon.storeSet(this.group, key, JSON.stringify(sent)).catch((cause) => this.fail("tell", cause));
  }

  private textOf({ text, failure, stopped }: Sent): string {
    if (text !== undefined) return text;
    if (stopped) throw new StoppedError(`rank ${this.rank} of ${this.size} ends, because rank 0 was stopped`);
    throw new EngineError(
      `rank ${this.rank} of ${this.size} ends, because rank 0 has failed`,
      failure ?? "see its output",
    );
  }

  /** Replaces variables by those of rank 0. */
  async broadcastAll(variables: Iterable<Variable>): Promise<void> {
    for (const variable of variables) {
      // A copy, as the memory of a variable may be that of a file.
      const copy = tidy(() => add(variable, scalar(0, variable.dtype)));
      try {
        await this.broadcast(copy);
        if (this.rank !== 0) variable.assign(copy);
      } finally {
        copy.dispose();
      }
    }
  }

  /** Leaves the group. The collectives of other ranks with this one fail from then on. */
  leave(): void {
    this.addon.leaveGroup(this.group);
  }

  private async run(collective: string, start: () => number): Promise<void> {
    try {
      await this.addon.waitFor(start());
    } catch (cause) {
      this.fail(collective, cause);
    }
  }

  private fail(what: string, cause: unknown): never {
    const place = `rank ${this.rank} of ${this.size}`;
    const when = this.during === undefined ? "" : ` in ${this.during}`;
    throw new EngineError(
      `${place}: ${what}${when} failed: ${reasonOf(cause, this.timeout)}`,
      "see the output of the other ranks for the first error",
      { cause },
    );
  }
}

/** The handle of a tensor that is changed in place, so half precision is not converted. */
const handleOf = ({ dataId }: Tensor): Handle => dataOf(dataId).handle;

const firstLine = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error);
  return (text.split("\n")[0] as string).replace(/^\[[^\]]*\]\s*/, "").trim();
};

/** What Gloo's message means. Its own text is that of sockets. */
function reasonOf(error: unknown, timeout: number): string {
  const text = firstLine(error);
  if (/timed? ?out/i.test(text)) return `another rank did not answer within ${timeout} s`;
  if (/closed|reset by peer|refused|broken pipe/i.test(text)) return "another rank has ended";
  return text;
}
