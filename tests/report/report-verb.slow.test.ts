// `gblr report` as a user runs it, under Bun and under Deno.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { temporaryFolder } from "../hub/temporary.ts";
import { writeExampleRun } from "./example-run.ts";

const GBLR = path.join(import.meta.dir, "../../workbench/cli/gblr.ts");
const DENO = path.join(import.meta.dir, "../../node_modules/.bin/deno");
const at = temporaryFolder();

function run(command: string[], ...args: string[]): { code: number; stdout: string; stderr: string } {
  const child = Bun.spawnSync([...command, GBLR, "report", ...args], { cwd: at() });
  return { code: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
}

test("report writes the page and prints where it is", async () => {
  await writeExampleRun(at("run"));
  const { code, stdout, stderr } = run([process.execPath], "run");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(readFileSync(stdout.trim(), "utf8")).toStartWith("<!doctype html>");
});

test("--charts writes every chart three times, --json lists them", async () => {
  const { code, stdout } = run([process.execPath], "run", "--charts", "figures/run", "--json");
  const { report, status, problems, charts } = JSON.parse(stdout);
  expect({ code, status, problems }).toEqual({ code: 0, status: "finished", problems: [] });
  expect(existsSync(report)).toBe(true);
  expect(charts).toHaveLength(3 * 9);
  expect(charts.slice(0, 2)).toEqual([path.join("figures/run/01-loss.svg"), path.join("figures/run/01-loss.png")]);
  expect(charts.every((file: string) => existsSync(at(file)))).toBe(true);
});

test("what is no run is refused in one line", () => {
  const { code, stdout, stderr } = run([process.execPath], "absent");
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toBe("gblr: absent: there is no such folder; give the folder of a run\n");
  expect(run([process.execPath]).code).toBe(2);
  const help = run([process.execPath], "--help");
  expect(help.stdout).toContain("gblr report runs/gpt2-gaudi");
});

test.skipIf(!existsSync(DENO))("Deno writes the same page as Bun", async () => {
  run([process.execPath], "run");
  const page = readFileSync(at("run/report.html"), "utf8");
  rmSync(at("run/report.html"));
  const { code, stderr } = run([DENO, "run", "-A"], "run");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(readFileSync(at("run/report.html"), "utf8")).toBe(page);
});
