// Two hosts on this machine: network namespaces that a cable joins, each with its own addresses, ports and loopback. Needs
// Linux, root and iproute2.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import path from "node:path";
import process from "node:process";

/** Addresses of the hosts. */
export const ADDRESSES = ["10.211.0.1", "10.211.0.2"] as const;

const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });

/** Two hosts and the cable between them. Must be removed. */
export class Hosts {
  private readonly names: readonly [string, string];

  constructor() {
    const id = randomBytes(3).toString("hex");
    this.names = [`gblr-${id}-0`, `gblr-${id}-1`];
    const cable = [`gb${id}a`, `gb${id}b`] as const;
    try {
      for (const name of this.names) ip("netns", "add", name);
      ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1]);
      for (const [i, name] of this.names.entries()) {
        ip("link", "set", cable[i] as string, "netns", name);
        this.on(i, "ip", "link", "set", cable[i] as string, "name", "eth0");
        this.on(i, "ip", "addr", "add", `${ADDRESSES[i]}/24`, "dev", "eth0");
        for (const link of ["lo", "eth0"]) this.on(i, "ip", "link", "set", link, "up");
      }
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Runs a command on a host to its end. */
  on(host: number, ...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.names[host] as string, ...command], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Starts a command on a host. */
  start(host: number, command: readonly string[], environment: Readonly<Record<string, string>>): ChildProcess {
    return spawn("ip", ["netns", "exec", this.names[host] as string, ...command], {
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  /** Starts a script of this folder as a rank on each host. */
  ranks(script: string, task: unknown, meeting = { address: ADDRESSES[0] as string, port: 29_500 }): ChildProcess[] {
    return this.names.map((_, rank) =>
      this.start(rank, [process.execPath, path.join(import.meta.dirname, script), JSON.stringify(task)], {
        ...{ RANK: `${rank}`, WORLD_SIZE: "2", LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "1" },
        ...{ MASTER_ADDR: meeting.address, MASTER_PORT: `${meeting.port}` },
      }),
    );
  }

  /** Limits what both hosts send. @param rate in the notation of tc, e.g. `50mbit` */
  limit(rate: string): void {
    for (const host of [0, 1]) {
      this.on(host, ..."tc qdisc replace dev eth0 root tbf burst 64kb latency 200ms rate".split(" "), rate);
    }
  }

  /** Pulls the cable out, or puts it back. Packets are lost; no connection is told. */
  cable(state: "out" | "in"): void {
    this.on(1, "ip", "link", "set", "eth0", state === "out" ? "down" : "up");
  }

  remove(): void {
    for (const name of this.names) {
      try {
        ip("netns", "delete", name);
      } catch {
        // It was not made.
      }
    }
  }
}

/** Why hosts cannot be made here; undefined if they can. */
export function whyNoHosts(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  try {
    const hosts = new Hosts();
    try {
      hosts.limit("1gbit");
    } finally {
      hosts.remove();
    }
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message.trim().split("\n").at(-1)}`;
  }
}
