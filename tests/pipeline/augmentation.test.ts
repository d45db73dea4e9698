// Which augmentations may be asked for together.

import { expect, test } from "bun:test";
import { readSettings } from "../../workbench/cli/shared/settings.ts";
import { imageExperiment } from "../../workbench/pipeline/domains/image-settings.ts";
import { imageDomain } from "../../workbench/pipeline/domains/images.ts";

const check = (flags: Record<string, unknown>) => () =>
  imageDomain.check(readSettings(imageExperiment, { model: "owner/name", dataset: "owner/images", ...flags }, {}));

test("one policy for colors and shapes is enough, and none of them is no second one", () => {
  expect(check({ randAugment: "m9", autoAugment: "cifar10" })).toThrow("--rand-augment and --auto-augment contradict");
  expect(check({ autoAugment: "cifar10", colorJitter: "0.4" })).toThrow("contradict");
  expect(check({ randAugment: "m9", autoAugment: "none" })).not.toThrow();
  expect(check({ autoAugment: "none" })).not.toThrow();
});
