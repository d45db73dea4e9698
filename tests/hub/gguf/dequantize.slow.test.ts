// Dequantization of many random blocks against PyPI's gguf, which runs beside the test.

import { expect, test } from "bun:test";
import { pythonWith, runPython } from "../../python/python.ts";
import { temporaryFolder } from "../temporary.ts";
import { expectSameValues, QUANTIZED } from "./quantized.ts";

const python = pythonWith("gguf", "safetensors");
const at = temporaryFolder();

test.skipIf(!python)("5 000 random blocks of each type have the values that gguf gives", async () => {
  const file = at("quantized.safetensors");
  const { status, stderr } = await runPython(python, "../hub/gguf/quantized.py", { args: [file, "5", "5000"] });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  for (const name of QUANTIZED) await expectSameValues(file, name);
});
