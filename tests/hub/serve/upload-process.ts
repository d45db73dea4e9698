// Pushes a folder with the official client, in a process of its own, so that it can be killed: address, token, repository
// and folder as arguments.

import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { uploadFiles } from "@huggingface/hub";

const [hubUrl = "", accessToken = "", repo = "", folder = ""] = process.argv.slice(2);
const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
// Not by the client's own way of reading folders: Bun sends its lazy files as empty bodies.
const files = names
  .filter((name) => statSync(path.join(folder, name)).isFile())
  .map((name) => ({ path: name, content: new Blob([new Uint8Array(readFileSync(path.join(folder, name)))]) }));
await uploadFiles({ repo, hubUrl, accessToken, commitTitle: "Pushed", files });
