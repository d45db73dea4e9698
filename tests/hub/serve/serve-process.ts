// A local Hub in a process of its own, so that it can be killed: folder and token as arguments, its address on stdout.

import process from "node:process";
import { serveHub } from "../../../hub/serve/index.ts";

const [folder = "", token = "", port = "0"] = process.argv.slice(2);
const hub = await serveHub({ folder, token, port: Number(port), multipartFrom: 60_000, partSize: 20_000 });
process.stdout.write(`${hub.url}\n`);
