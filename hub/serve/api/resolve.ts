// `/<repository>/resolve/<revision>/<path>`: the content of a file or a part of it, by RFC 9110 (Range, If-Range,
// If-None-Match, If-Match). `/raw/` answers in the same way, but with the pointer of a large file, as git has it.

import type { BigIntStats } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { quote } from "../../files/file-error.ts";
import { type HubCommit, type HubFile, pointerText } from "../store/commit-object.ts";
import type { OpenContent } from "../store/objects.ts";
import { HubRefusal } from "../store/refusal.ts";
import { requireGateOpen } from "./permissions.ts";
import type { ByteBody, HubReply } from "./reply.ts";
import { type RepoRequest, splitRevision } from "./repo-request.ts";

/** Answers with the content of a file. */
export async function resolveFile(request: RepoRequest): Promise<HubReply> {
  const { file, commit } = await findFile(request);
  const content = await request.repository.open(file);
  if (!content) {
    throw new HubRefusal(
      404,
      `${quote(file.path)} of commit ${commit.id} was edited in the folder and not kept`,
      "EntryNotFound",
    );
  }
  const etag = `"${file.large ? file.sha256 : file.oid}"`;
  const headers: Record<string, string> = file.large ? { "X-Linked-Size": `${file.size}`, "X-Linked-ETag": etag } : {};
  return answer(request, {
    file,
    commit,
    etag,
    headers,
    content: fileBody(content),
  });
}

/** Answers with the content of a small file, or the pointer of a large one. */
export async function rawFile(request: RepoRequest): Promise<HubReply> {
  const { file, commit } = await findFile(request);
  if (!file.large) return resolveFile(request);
  const pointer = Buffer.from(pointerText(file));
  const content: PartialContent = {
    size: pointer.length,
    read: async function* (start, length) {
      yield pointer.subarray(start, start + length);
    },
    close: async () => {},
  };
  return answer(request, { file, commit, etag: `"${file.oid}"`, headers: {}, content });
}

async function findFile(request: RepoRequest): Promise<{ file: HubFile; commit: HubCommit }> {
  const { repository, rest, settings, caller } = request;
  requireGateOpen(settings, caller, repository.id);
  const { commit, revision, path } = await splitRevision(repository, rest);
  const file = commit.files.find((entry) => entry.path === path);
  if (!file) {
    throw new HubRefusal(404, `${repository.id} has no file ${quote(path)} at ${quote(revision)}`, "EntryNotFound");
  }
  return { file, commit };
}

interface PartialContent {
  /** size in bytes. Default: the size of the file */
  size?: number;
  read(start: number, length: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

interface Answer {
  file: HubFile;
  commit: HubCommit;
  etag: string;
  headers: Record<string, string>;
  content: PartialContent;
}

function answer(request: RepoRequest, { file, commit, etag, headers, content }: Answer): HubReply {
  const { size = file.size } = content;
  const selection = select({ size, etag, header: request.header });
  const name = file.path.split("/").at(-1) as string;
  const common = {
    ...headers,
    ETag: etag,
    "X-Repo-Commit": commit.id,
    "Accept-Ranges": "bytes",
    "Access-Control-Expose-Headers": "X-Repo-Commit, X-Linked-Size, X-Linked-ETag, ETag, Content-Range",
    "Content-Disposition": `inline; filename*=UTF-8''${encodeURIComponent(name)}; filename="${name.replace(/[^\x20-\x7e]|"/g, "_")}"`,
    // Browsers must not run the contents of files.
    "Content-Type": file.large ? "application/octet-stream" : "text/plain; charset=utf-8",
  };
  const { start, length } = selection.kind === "part" ? selection : { start: 0, length: size };
  const body: ByteBody = { length, read: () => content.read(start, length), close: content.close };
  return {
    ...partOf(selection, size, common),
    body: hasBody(selection) ? body : { ...body, length: 0, read: nothing },
  };
}

function hasBody({ kind }: Selection): boolean {
  return kind === "whole" || kind === "part";
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function partOf(selection: Selection, size: number, headers: Record<string, string>): Omit<HubReply, "body"> {
  switch (selection.kind) {
    case "whole":
      return { status: 200, headers };
    case "part": {
      const end = selection.start + selection.length - 1;
      return { status: 206, headers: { ...headers, "Content-Range": `bytes ${selection.start}-${end}/${size}` } };
    }
    case "unsatisfiable":
      // The official client requests the first byte of every file, also of empty ones, to learn the size.
      return { status: size === 0 ? 200 : 416, headers: { ...headers, "Content-Range": `bytes */${size}` } };
    case "unchanged":
      return { status: 304, headers };
    case "changed":
      return { status: 412, headers };
  }
}

/** Bytes of one read. */
const READ_BYTES = 2 ** 18;

/**
 * The content of an open file. If the file is edited while it is sent, the answer is cut off, because it would mix old
 * and new bytes.
 */
function fileBody({ handle, stats }: OpenContent): PartialContent {
  let closed: Promise<void> | undefined;
  return {
    read: async function* (start, length) {
      for (let done = 0; done < length; ) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, length - done));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, start + done);
        if (bytesRead === 0) throw new Error("a file became shorter while it was sent");
        done += bytesRead;
        if (done >= length) await checkUnchanged(handle, stats);
        yield buffer.subarray(0, bytesRead);
      }
    },
    close: () => {
      closed ??= handle.close();
      return closed;
    },
  };
}

async function checkUnchanged(handle: FileHandle, { size, mtimeNs }: BigIntStats): Promise<void> {
  const now = await handle.stat({ bigint: true });
  if (now.size !== size || now.mtimeNs !== mtimeNs) throw new Error("a file was edited while it was sent");
}

type Selection =
  | { kind: "whole" }
  | { kind: "part"; start: number; length: number }
  | { kind: "unsatisfiable" }
  | { kind: "unchanged" }
  | { kind: "changed" };

interface Conditions {
  /** size of the content in bytes */
  size: number;
  /** in quotes */
  etag: string;
  header(name: string): string | undefined;
}

/** Decides which part of a content to send, from the headers of a request. */
export function select({ size, etag, header }: Conditions): Selection {
  const match = header("if-match");
  if (match !== undefined && !lists(match, etag)) return { kind: "changed" };
  const noneMatch = header("if-none-match");
  if (noneMatch !== undefined && lists(noneMatch, etag)) return { kind: "unchanged" };
  const range = header("range");
  if (range === undefined) return { kind: "whole" };
  const condition = header("if-range");
  // The condition is a date, a weak tag or another tag, so the part that the client has may belong to another content.
  if (condition !== undefined && condition.trim() !== etag) return { kind: "whole" };
  return parseRange(range, size);
}

/**
 * Parses a Range header. An invalid range, or a request for several ranges, selects the whole content, as the RFC
 * allows.
 */
function parseRange(range: string, size: number): Selection {
  const [, first = "", last = ""] = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(range) ?? [];
  if (first === "" && last === "") return { kind: "whole" };
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", start: size - length, length };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return { kind: "whole" };
  return start >= size ? { kind: "unsatisfiable" } : { kind: "part", start, length: end - start + 1 };
}

function lists(header: string, etag: string): boolean {
  return header.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}
