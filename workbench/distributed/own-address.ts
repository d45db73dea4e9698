// The address at which other machines reach this process. The name of a host often stands for an address of this machine
// only, such as 127.0.1.1, with which processes on several machines would wait for each other in vain.

import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import type { Place } from "./place.ts";

/**
 * The address of this machine on the way to the meeting point. No packet is sent.
 * @returns undefined if the meeting point has no address, or can only be reached from this machine
 */
export async function ownAddress({ address, port }: Place["meeting"]): Promise<string | undefined> {
  const meeting = await lookup(address).catch(() => undefined);
  if (!meeting) return undefined;
  const socket = createSocket(meeting.family === 6 ? "udp6" : "udp4");
  try {
    // Connecting a datagram socket asks the routing table alone.
    await new Promise<void>((done, failed) => {
      socket.once("error", failed);
      socket.connect(port, meeting.address, () => done());
    });
    const own = socket.address().address;
    return isLocal(own) ? firstAddress() : own;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

// Deno gives 0.0.0.0 for every connected datagram socket.
const isLocal = (address: string): boolean => /^(127\.|0\.0\.0\.0$|::1?$)/.test(address);

/** The first address of this machine that others may reach. */
const firstAddress = (): string | undefined =>
  Object.values(networkInterfaces())
    .flat()
    .find((each) => each && !each.internal && each.family === "IPv4")?.address;
