// A TCP proxy in front of a meeting point, which delays what goes through it, stops passing it on, or cuts connections.

import { connect, createServer, type Server, type Socket } from "node:net";

/** Must be closed. */
export class TcpProxy {
  port = 0;
  /** milliseconds by which all bytes are late */
  delay = 0;
  private isStalled = false;
  private readonly sockets = new Set<Socket>();
  private readonly waiting: (() => void)[] = [];
  private readonly server: Server;

  /** @param target port of this machine, which may be served later */
  constructor(target: number) {
    this.server = createServer((client) => {
      client.pause();
      const reach = () => {
        const other = connect(target, "127.0.0.1", () => {
          this.pass(client, other);
          this.pass(other, client);
          client.resume();
        });
        other.once("error", () => {
          if (!client.destroyed && other.bytesRead === 0) setTimeout(reach, 50);
        });
      };
      reach();
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((done) => this.server.listen(0, "127.0.0.1", done));
    this.port = (this.server.address() as { port: number }).port;
    return this;
  }

  /** Stops passing bytes on, or passes on those that have waited. */
  stall(isStalled: boolean): void {
    this.isStalled = isStalled;
    if (!isStalled) for (const pass of this.waiting.splice(0)) pass();
  }

  /** Resets all connections, and takes no further ones. */
  cut(): void {
    this.server.close();
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private pass(from: Socket, to: Socket): void {
    this.sockets.add(from);
    from.on("data", (bytes) => {
      const send = () => {
        if (!to.destroyed) to.write(bytes);
      };
      if (this.isStalled) this.waiting.push(send);
      else if (this.delay > 0) setTimeout(send, this.delay);
      else send();
    });
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }
}
