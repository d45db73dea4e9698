// The processes of a run that exchange tensors. PyTorch's c10d does it, with Gloo, through the native engine; there is no
// Python. Collectives change tensors in place, and run while JavaScript goes on until their promise is awaited.

import type { Tensor } from "@tensorflow/tfjs-core";
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
const LOOPBACK = "127.0.0.1";

/** Whether this build of the native engine can form process groups. */
export const hasProcessGroups = (): boolean => openAddon().hasProcessGroups();

/** The processes of a run. */
export class ProcessGroup {
  readonly rank: number;
  readonly size: number;
  private readonly addon: Addon;
  private readonly group: number;
  private readonly timeout: number;
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
    const { address, port, isServed } = meeting;
    const addon = openAddon();
    if (!addon.hasProcessGroups()) {
      throw new EngineError("this libtorch has no process groups", "build the native engine with PyTorch's wheel");
    }
    const serves: 0 | 1 = rank === 0 && !isServed ? 1 : 0;
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

  /** Ends when all ranks have reached it. */
  barrier(): Promise<void> {
    return this.run("barrier", () => this.addon.barrier(this.group));
  }

  /** Leaves the group. The collectives of other ranks with this one fail from then on. */
  leave(): void {
    this.addon.leaveGroup(this.group);
  }

  private async run(collective: string, start: () => number): Promise<void> {
    try {
      await this.addon.waitFor(start());
    } catch (cause) {
      const place = `rank ${this.rank} of ${this.size}`;
      const when = this.during === undefined ? "" : ` in ${this.during}`;
      throw new EngineError(
        `${place}: ${collective}${when} failed: ${reasonOf(cause, this.timeout)}`,
        "see the output of the other ranks for the first error",
        { cause },
      );
    }
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
