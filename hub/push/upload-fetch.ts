// The fetch function that @huggingface/hub uses for uploads. Bodies that are files are streamed and counted, and sent
// again at each attempt. Each request is retried separately, so that only the failed part of a large file is sent
// again. The library's own file blob cannot be used: Bun sends an empty body for subclasses of Blob, since it ignores
// their methods.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import process from "node:process";
import { Readable } from "node:stream";
import type { RequestContext } from "../request/context.ts";
import { type HubFetch, hubFetch } from "../request/hub-fetch.ts";

/** The library attaches this to requests that report progress. */
interface Hinted extends RequestInit {
  progressHint?: { path?: string };
}

interface UploadFetchOptions {
  /** called when `bytes` of a file were sent; negative when they have to be sent again */
  onSent: (file: string, bytes: number) => void;
}

/** Makes the fetch function, which throws HubError. */
export function uploadFetch(context: RequestContext, { onSent }: UploadFetchOptions): HubFetch {
  const sent = new WeakMap<RequestInit, number>();
  const fileOf = (init: RequestInit) => (init as Hinted).progressHint?.path;
  return hubFetch(context, {
    fileOf,
    sendsFile: ({ body }) => body instanceof FileSlice,
    prepare: (init, poke) => {
      const { body } = init;
      if (!(body instanceof FileSlice)) return init;
      const file = fileOf(init) ?? body.path;
      const slice = body.counted((bytes) => {
        poke();
        sent.set(init, (sent.get(init) ?? 0) + bytes);
        onSent(file, bytes);
      });
      return sendSlice(slice, init);
    },
    onFailedTry: (init) => {
      const bytes = sent.get(init) ?? 0;
      if (bytes > 0) onSent(fileOf(init) ?? "", -bytes);
      sent.delete(init);
    },
  });
}

interface SliceOptions {
  start: number;
  end: number;
  onRead?: ((bytes: number) => void) | undefined;
}

/** A part of a file as a Blob that is read when it is sent. */
export class FileSlice extends Blob {
  readonly path: string;
  readonly #start: number;
  readonly #end: number;
  readonly #onRead: ((bytes: number) => void) | undefined;

  /**
   * The bytes of a file from `start` to `end`.
   * @param path on this machine
   */
  constructor(path: string, { start, end, onRead }: SliceOptions) {
    super();
    this.path = path;
    this.#start = start;
    this.#end = end;
    this.#onRead = onRead;
  }

  override get size(): number {
    return this.#end - this.#start;
  }

  override slice(start = 0, end = this.size): FileSlice {
    const clamp = (at: number) => Math.min(Math.max(at < 0 ? this.size + at : at, 0), this.size);
    const from = clamp(start);
    return new FileSlice(this.path, { start: this.#start + from, end: this.#start + Math.max(from, clamp(end)) });
  }

  /** The same slice, which calls `onRead` with the size of each chunk. */
  counted(onRead: (bytes: number) => void): FileSlice {
    return new FileSlice(this.path, { start: this.#start, end: this.#end, onRead });
  }

  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.size === 0) return new Blob([]).stream();
    const file = createReadStream(this.path, { start: this.#start, end: this.#end - 1, highWaterMark: 2 ** 18 });
    const stream = Readable.toWeb(file) as unknown as ReadableStream<Uint8Array<ArrayBuffer>>;
    const onRead = this.#onRead;
    if (!onRead) return stream;
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform: (chunk, controller) => {
        onRead(chunk.byteLength);
        controller.enqueue(chunk);
      },
    });
    return stream.pipeThrough(count);
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(this.size);
    const handle = await open(this.path, "r");
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, this.#start + done);
        if (bytesRead === 0) throw new Error(`${this.path} became shorter while it was read`);
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
    return bytes;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  override async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }
}

/** Makes a request that sends a slice and states its length, because storages reject bodies of unknown length. */
function sendSlice(slice: FileSlice, init: RequestInit): RequestInit {
  if (!process.versions.bun) return { ...init, body: slice };
  const headers = new Headers(init.headers);
  headers.set("content-length", String(slice.size));
  return { ...init, headers, body: slice.stream() };
}
