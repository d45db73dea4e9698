#!/usr/bin/env bun
// The `gblr` command. Each verb is one file beside this one, listed here; what they share is in program.ts.

import process from "node:process";
import { addConvert } from "./convert.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExport } from "./export.ts";
import { addFinetune } from "./finetune.ts";
import { addGenerate } from "./generate.ts";
import { addHub } from "./hub.ts";
import { addImport } from "./import.ts";
import { addInspect } from "./inspect.ts";
import { createProgram, runProgram } from "./program.ts";
import { addPull } from "./pull.ts";
import { addPush } from "./push.ts";
import { addReport } from "./report.ts";

// A reader that stops early, such as `head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

// Set instead of exiting at once: what was printed still has to leave the pipe.
process.exitCode = await runProgram(
  createProgram([
    addConvert,
    addDoctor,
    addEval,
    addExport,
    addFinetune,
    addGenerate,
    addHub,
    addImport,
    addInspect,
    addPull,
    addPush,
    addReport,
  ]),
  process.argv.slice(2),
);
