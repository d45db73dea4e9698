// Modules of Python joined into files, held against what Python makes of both.

import { expect, test } from "bun:test";
import { joinPython } from "../../hub/python/join.ts";
import { pythonWith, runPython } from "../python/python.ts";

const SOURCES = {
  first:
    '"""What the first says.\n\nIn two parts.\n"""\n\nimport math\nfrom os import (\n    path,\n    sep,\n)\n\nROOT = math.sqrt(2)\n',
  second:
    '"""The second."""\n\nimport os\nfrom os import curdir\n\nfrom first import ROOT\n\n\ndef twice():\n    return 2 * ROOT, os.curdir == curdir\n',
  settings: '"""Settings."""\n\nimport json\n\nfrom shared import checked\n\nNAME = checked(json.loads(\'"n"\'))\n',
  shared: '"""Shared by both."""\n\n\ndef checked(value):\n    return value\n',
  main: '"""The file."""\n\nfrom second import twice\nfrom settings import NAME\nfrom shared import checked\n\nprint(twice(), NAME, checked(3))\n',
};

test("each file has its imports once, and each module is in one file, after those that it needs", () => {
  const files = joinPython(SOURCES, ["settings", "main"]);
  expect([...files.keys()]).toEqual(["settings", "main"]);
  const rule = `# ${"-".repeat(118)}`;
  expect(files.get("main")).toBe(`"""The file.
"""

import math
import os
from os import curdir, path, sep

try:
    from .settings import NAME, checked
except ImportError:
    from settings import NAME, checked


${rule}
# What the first says.
#
# In two parts.
${rule}

ROOT = math.sqrt(2)


${rule}
# The second.
${rule}

def twice():
    return 2 * ROOT, os.curdir == curdir


print(twice(), NAME, checked(3))
`);
});

const python = pythonWith("ast");

test.skipIf(!python)("Python runs the joined files as it runs the modules", async () => {
  const files = Object.fromEntries(joinPython(SOURCES, ["settings", "main"]));
  const code = `
import json, os, sys, tempfile
for files in json.load(sys.stdin):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            open(os.path.join(folder, name + ".py"), "w").write(text)
        sys.path.insert(0, folder)
        import main
        sys.path.remove(folder)
        for name in files:
            sys.modules.pop(name, None)`;
  const { stdout } = await runPython(python, code, { input: JSON.stringify([SOURCES, files]) });
  const line = `(${2 * Math.SQRT2}, True) n 3\n`;
  expect(stdout).toBe(line + line);
});

test("what cannot be joined is refused by the module's name", () => {
  const joining = (changed: Record<string, string>) => () =>
    joinPython({ ...SOURCES, ...changed }, ["settings", "main"]);
  expect(joining({ second: `${SOURCES.second}\n\ndef ROOT():\n    pass\n` })).toThrow(
    "ROOT is defined by first.py and by second.py",
  );
  expect(joining({ second: "import os\n" })).toThrow("second.py: must begin with a docstring");
  const relative = '"""The second."""\n\ntry:\n    from .first import ROOT\nexcept ImportError:\n    ROOT = 1\n';
  expect(joining({ second: relative })).toThrow("second.py: imports must be plain statements");
});
