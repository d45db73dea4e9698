#!/usr/bin/env bun
// The `gblr` command. Each verb has a file in this folder and is listed here. Shared code is in shared/.

import process from "node:process";
import { createProgram, runMain } from "./shared/program.ts";

const VERBS = {
  ablate: async () => (await import("./ablate.ts")).addAblate,
  chat: async () => (await import("./chat.ts")).addChat,
  compare: async () => (await import("./compare.ts")).addCompare,
  convert: async () => (await import("./convert.ts")).addConvert,
  doctor: async () => (await import("./doctor.ts")).addDoctor,
  eval: async () => (await import("./eval.ts")).addEval,
  export: async () => (await import("./export.ts")).addExport,
  finetune: async () => (await import("./finetune.ts")).addFinetune,
  generate: async () => (await import("./generate.ts")).addGenerate,
  hub: async () => (await import("./hub.ts")).addHub,
  import: async () => (await import("./import.ts")).addImport,
  inspect: async () => (await import("./inspect.ts")).addInspect,
  pull: async () => (await import("./pull.ts")).addPull,
  push: async () => (await import("./push.ts")).addPush,
  report: async () => (await import("./report.ts")).addReport,
  serve: async () => (await import("./serve.ts")).addServe,
  sweep: async () => (await import("./sweep.ts")).addSweep,
  watch: async () => (await import("./watch.ts")).addWatch,
};

// Loading the code of all verbs takes most of a second, so a command loads its own. Help needs all of them.
const asked = process.argv[2] ?? "";
const needed = Object.entries(VERBS).filter(([verb]) => verb === asked || !Object.hasOwn(VERBS, asked));
await runMain(createProgram(await Promise.all(needed.map(([, load]) => load()))));
