// The speed and the times that a bar shows. What it looks like is cli-progress' business; that it is silent where there
// is no terminal is tested with the verbs.

import { expect, test } from "bun:test";
import { formatDuration, progressBar, speedometer } from "../../workbench/cli/shared/progress.ts";

test("a speed is that of the last seconds, not of the whole", () => {
  let now = 0;
  const speed = speedometer(() => now);
  for (let second = 0; second < 60; second++) {
    now += 1000;
    speed.add(second < 40 ? 100 : 7);
  }
  expect(speed.perSecond()).toBe(7);
});

test("a pause lowers the speed while it lasts", () => {
  let now = 0;
  const speed = speedometer(() => now);
  for (let i = 0; i < 5; i++) {
    now += 1000;
    speed.add(60);
  }
  expect(speed.perSecond()).toBe(60);
  now += 5000;
  expect(speed.perSecond()).toBe(30);
});

test("no speed is made up from the first moment, and none is less than nothing", () => {
  let now = 0;
  const speed = speedometer(() => now);
  now = 1;
  speed.add(1e6);
  expect(speed.perSecond()).toBe(0);
  now = 1000;
  speed.add(-2e6);
  expect(speed.perSecond()).toBe(0);
});

test.each([
  [0.2, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [125, "2 min 05 s"],
  [3599.7, "1 h 00 min"],
  [12_000, "3 h 20 min"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

test.skipIf(process.stderr.isTTY === true)("without a terminal a bar takes everything and shows nothing", () => {
  const bar = progressBar({ label: "x", total: 3 });
  bar.advance(3);
  bar.note("y");
  bar.stop();
});
