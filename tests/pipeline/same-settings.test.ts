// Whether a run folder can be resumed with given settings. Runs of earlier versions lack the settings that came later.

import { expect, test } from "bun:test";
import { languageSettings } from "../../workbench/pipeline/domains/language.ts";
import { expectSameSettings } from "../../workbench/pipeline/run-folder.ts";
import { makeRunFolder, startRun } from "../../workbench/report/index.ts";
import { temporaryFolder } from "../hub/temporary.ts";

const at = temporaryFolder();

test("a setting that a run does not have has had its default", async () => {
  const settings = languageSettings.parse({ model: "a/b", dataset: "c/d", run: at("run") });
  const { stream: _, shuffleWindows: __, sampleTokens: ___, ...earlier } = settings;
  await makeRunFolder(at("run"));
  await startRun(at("run"), {
    ...{ name: "a", recipe: "test", command: "test", task: "text-generation", versions: {}, seed: 1 },
    ...{ engine: "wasm", device: "cpu", precision: "float32" },
    settings: JSON.parse(JSON.stringify(earlier)),
  } as never);
  await expectSameSettings(at("run"), settings, languageSettings);
  const other = languageSettings.parse({ ...settings, stream: true });
  await expect(expectSameSettings(at("run"), other, languageSettings)).rejects.toThrow(
    /was started with other settings: stream false → true; /,
  );
});
