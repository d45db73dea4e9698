// The processes of a run that exchange tensors. PyTorch's c10d does it, with Gloo, and NCCL for tensors of GPUs, through the
// native engine; there is no Python. Collectives change tensors in place, and run while JavaScript goes on until their
// promise is awaited.

import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { add, dispose, scalar, type Tensor, tensor1d, tidy, type Variable, zeros } from "@tensorflow/tfjs-core";
import type { Addon, Handle } from "../engine/backends/torch/addon.ts";
import { dataOf, openAddon } from "../engine/backends/torch/aten.ts";
import { EngineError } from "../engine/core/errors.ts";
import { ownAddress } from "./own-address.ts";
import type { Place } from "./place.ts";

/** How tensors are put together: element by element. */
export type Reduction = "sum" | "max" | "min";

/** What exchanges the tensors of GPUs. Gloo copies them to the host first. */
export const BACKENDS = ["gloo", "nccl"] as const;
export type Backend = (typeof BACKENDS)[number];

export interface JoinOptions {
  /** seconds to wait for other ranks, when joining and in each collective. Default 600 */
  timeout?: number;
  /**
   * network interface to exchange tensors through, e.g. `eth0`. Default: that of the environment's GLOO_SOCKET_IFNAME, as for
   * PyTorch, or else the one on the way to the meeting point
   */
  interface?: string;
  /** what this process computes on, e.g. `cuda:1`. Default: the CPU */
  device?: string;
  /** what exchanges the tensors of GPUs. Default: NCCL if all ranks have it, and a GPU of their own, else Gloo */
  backend?: Backend;
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
  /** number of processes on the same machine */
  readonly localSize: number;
  private readonly addon: Addon;
  private readonly group: number;
  private readonly timeout: number;
  /** number of texts that rank 0 has sent, or this rank has asked for */
  private texts = 0;
  /** what exchanges the tensors of GPUs; all others go through Gloo */
  backend: Backend = "gloo";
  /** what the run is doing, e.g. `step 30`, which errors name */
  during: string | undefined;

  private constructor({ rank, size, localSize }: Place, { group, timeout }: { group: number; timeout: number }) {
    this.rank = rank;
    this.size = size;
    this.localSize = localSize;
    this.addon = openAddon();
    this.group = group;
    this.timeout = timeout;
  }

  /**
   * Joins the other processes; ends when all have joined.
   * @throws EngineError if libtorch has no process groups, if the meeting point cannot be reached, if ranks are missing, or
   * if NCCL was asked for and a rank cannot use it
   */
  static async join(
    place: Place,
    { timeout = TIMEOUT, interface: network = process.env.GLOO_SOCKET_IFNAME ?? "", ...options }: JoinOptions = {},
  ): Promise<ProcessGroup> {
    const { rank, size, localSize, meeting, restarts } = place;
    const { address, port } = meeting;
    const addon = openAddon();
    if (!addon.hasProcessGroups()) {
      throw new EngineError("this libtorch has no process groups", "build the native engine with PyTorch's wheel");
    }
    const serves: 0 | 1 = rank === 0 ? 1 : 0;
    const isOneMachine = localSize === size;
    const host = network === "" ? (isOneMachine ? LOOPBACK : ((await ownAddress(meeting)) ?? "")) : "";
    const prefix = `gblr/${restarts}`;
    const join = addon.joinGroup(address, port, serves, prefix, rank, size, timeout, network, host);
    const group = await join.catch((cause) => {
      throw new EngineError(
        `rank ${rank} of ${size} did not meet the others at ${address}:${port} within ${timeout} s: ${firstLine(cause)}`,
        "see that all ranks run, and that this address is reachable",
        { cause },
      );
    });
    const joined = new ProcessGroup(place, { group, timeout });
    await joined.agreeOn(options);
    return joined;
  }

  /** Uses NCCL if all ranks can, and no two have the same GPU. */
  private async agreeOn({ device = "cpu", backend }: Pick<JoinOptions, "device" | "backend">): Promise<void> {
    const texts = await this.gather(JSON.stringify(this.answerFor(device, backend)));
    const reason = reasonAgainstNccl(texts.map((text) => JSON.parse(text) as NcclAnswer));
    if (reason === undefined) {
      await this.addon.useNccl(this.group, device).catch((cause) => this.fail("the first exchange by NCCL", cause));
      this.backend = "nccl";
    } else if (backend === "nccl") {
      throw new EngineError(`NCCL cannot be used: ${reason}`, NCCL_REMEDY);
    }
  }

  private answerFor(device: string, backend: Backend | undefined): NcclAnswer {
    if (backend === "gloo") return { lacks: "was told to use Gloo" };
    if (!this.addon.hasNccl()) return { lacks: "is built without NCCL" };
    const gpu = this.addon.cudaDevices().find((_, i) => device === `cuda:${i}`);
    return gpu ? { gpu: gpu.uuid } : { lacks: "computes on the CPU" };
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

  /**
   * Writes the reduction over all ranks of the row of `tensor` that has this rank's number into `own`, whose shape is that of
   * a row. Through Gloo, rows are put together in the order of ranks.
   * @param tensor of shape [size, …shape of `own`]
   */
  reduceScatter(tensor: Tensor, own: Tensor, reduction: Reduction = "sum"): Promise<void> {
    const [from, onto] = [[handleOf(tensor)], [handleOf(own)]];
    return this.run("reduceScatter", () => this.addon.reduceScatter(this.group, from, onto, reduction));
  }

  /** The texts of all ranks, in the order of ranks. */
  async gather(text: string): Promise<string[]> {
    const bytes = new TextEncoder().encode(text);
    const words = new Int32Array(1 + Math.ceil(bytes.length / 4));
    words[0] = bytes.length;
    new Uint8Array(words.buffer, 4).set(bytes);
    const all = await this.gatherNumbers(words);
    return all.map((each) => new TextDecoder().decode(new Uint8Array(each.buffer, 4, each[0])));
  }

  /** The numbers of all ranks, in the order of ranks. Ranks may have different counts of them. */
  async gatherNumbers(numbers: Int32Array): Promise<Int32Array[]> {
    // Tensors have the same size on all ranks: that of the most numbers, after their count.
    const row = new Int32Array(1 + (await this.largest(numbers.length)));
    row[0] = numbers.length;
    row.set(numbers, 1);
    const own = tensor1d(row, "int32");
    const all = zeros([this.size, row.length], "int32");
    try {
      await this.allGather(own, all);
      const gathered = (await all.data()) as Int32Array;
      return Array.from({ length: this.size }, (_, rank) => {
        const start = rank * row.length + 1;
        return gathered.slice(start, start + (gathered[start - 1] as number));
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

/** What a rank says when all look whether they can use NCCL: the identity of its GPU, or what it lacks. */
export type NcclAnswer = { gpu: string } | { lacks: string };

const NCCL_REMEDY =
  "give each process a GPU of its own and a build with NCCL (docs/distributed.md), or set GBLR_RANKS_BACKEND=gloo";

/** Why ranks cannot use NCCL together; undefined if they can. */
export function reasonAgainstNccl(answers: readonly NcclAnswer[]): string | undefined {
  const rankOf = new Map<string, number>();
  for (const [rank, answer] of answers.entries()) {
    if ("lacks" in answer) return `rank ${rank} of ${answers.length} ${answer.lacks}`;
    const other = rankOf.get(answer.gpu);
    if (other !== undefined) return `ranks ${other} and ${rank} of ${answers.length} have the same GPU`;
    rankOf.set(answer.gpu, rank);
  }
  return undefined;
}

/** The handle of a tensor that is changed in place, so half precision is not converted. It is not left in host memory. */
function handleOf({ dataId }: Tensor): Handle {
  const data = dataOf(dataId);
  data.upload?.();
  return data.handle;
}

const firstLine = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error);
  return (text.split("\n")[0] as string).replace(/^\[[^\]]*\]\s*/, "").trim();
};

/** What a message of Gloo or NCCL means. Their own texts are those of sockets. */
function reasonOf(error: unknown, timeout: number): string {
  const text = firstLine(error);
  if (/timed? ?out/i.test(text)) return `another rank did not answer within ${timeout} s`;
  if (/closed|reset by peer|refused|broken pipe|remote process exited/i.test(text)) return "another rank has ended";
  return text;
}
