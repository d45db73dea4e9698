// The engines that this machine and runtime have, for tests that must hold on every one of them. Looks for them once, when
// imported, and says on the console which are absent and why. Opens none before a test needs it. $GBLR_TEST_ENGINES names
// the only ones to test, with commas.

import { afterAll, beforeAll, describe } from "bun:test";
import * as tf from "@tensorflow/tfjs-core";
import { openEngine, probeEngines } from "../../workbench/engine/core/open.ts";
import type { DeviceInfo, Engine, EngineName, OpenEngineOptions } from "../../workbench/engine/core/types.ts";

/** An engine on one of its devices. */
export interface EngineUnderTest {
  /** as the test's group is called: `torch on cuda:0`, `wasm` */
  label: string;
  name: EngineName;
  options: OpenEngineOptions;
}

/** One of each kind of device: `cuda:0` and `cuda:1` run the same kernels. */
function variants(name: EngineName, devices: readonly DeviceInfo[]): EngineUnderTest[] {
  const kindOf = ({ id }: DeviceInfo) => id.split(":")[0];
  const firsts = devices.filter((device, at) => devices.findIndex((other) => kindOf(other) === kindOf(device)) === at);
  return firsts.map(({ id }) => ({ label: `${name} on ${id}`, name, options: { engine: name, device: id } }));
}

const only = process.env.GBLR_TEST_ENGINES?.split(",");
const probes = (await probeEngines()).map(({ name, probe }) => ({
  name,
  probe: only && !only.includes(name) ? { available: false as const, reason: "not in $GBLR_TEST_ENGINES" } : probe,
}));

/** Every engine that is present, once a kind of device. */
export const ENGINES: readonly EngineUnderTest[] = probes.flatMap(({ name, probe }) =>
  probe.available ? variants(name, probe.devices) : [],
);

/** Engines that are not, each with the reason. */
const ABSENT: readonly { name: EngineName; reason: string }[] = probes.flatMap(({ name, probe }) =>
  probe.available ? [] : [{ name, reason: probe.reason }],
);

if (!(globalThis as { enginesWereShown?: boolean }).enginesWereShown) {
  (globalThis as { enginesWereShown?: boolean }).enginesWereShown = true;
  console.log(`engines under test: ${ENGINES.map(({ label }) => label).join(", ")}`);
  for (const { name, reason } of ABSENT) {
    console.log(`engine not tested: ${name} (${reason})`);
  }
  if (ENGINES.some(({ name }) => name === "cpu"))
    console.log("engine cpu is plain JavaScript: tests that would take it seconds are skipped");
}

/**
 * Declares a group of tests for every engine present. While its tests run, the engine is the current one; what they leave
 * behind in tensors is disposed at the end.
 *
 * @param body declares the tests; `engine()` gives the open engine, from within a test
 */
export function forEachEngine(what: string, body: (engine: () => Engine, under: EngineUnderTest) => void): void {
  for (const under of ENGINES) {
    describe(`${what} (${under.label})`, () => {
      let opened: Engine | undefined;
      beforeAll(async () => {
        opened = await openEngine(under.options);
        tf.engine().startScope();
      });
      afterAll(() => {
        tf.engine().endScope();
      });
      body(() => {
        if (!opened) {
          throw new Error("the engine is open only while tests run");
        }
        return opened;
      }, under);
    });
  }
}
