#!/usr/bin/env bun
// The `gblr` command. Each verb has a file in this folder and is listed here. Shared code is in shared/.

import { addAblate } from "./ablate.ts";
import { addChat } from "./chat.ts";
import { addCompare } from "./compare.ts";
import { addConvert } from "./convert.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExport } from "./export.ts";
import { addFinetune } from "./finetune.ts";
import { addGenerate } from "./generate.ts";
import { addHub } from "./hub.ts";
import { addImport } from "./import.ts";
import { addInspect } from "./inspect.ts";
import { addPull } from "./pull.ts";
import { addPush } from "./push.ts";
import { addReport } from "./report.ts";
import { addServe } from "./serve.ts";
import { createProgram, runMain } from "./shared/program.ts";
import { addSweep } from "./sweep.ts";

await runMain(
  createProgram([
    addAblate,
    addChat,
    addCompare,
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
    addServe,
    addSweep,
  ]),
);
