// The commands in the Containerfiles are those that .ci/run and the documentation use. No registry of images is needed.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const read = (name: string) => readFileSync(path(name), "utf8");

const { scripts, engines } = JSON.parse(read("package.json")) as {
  scripts: Record<string, string>;
  engines: { node: string };
};
const documented = [".ci/run", "docs/engines.md", "CONTRIBUTING.md", "README.md"].map(read).join("\n");

describe.each(["Containerfile", "Containerfile.cuda"])("%s", (name) => {
  const lines = read(name).split("\n");
  const instructions = (kind: string) =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));
  const commands = instructions("RUN").flatMap((line) => line.split(" && "));

  test("installs packages that are installed there too", () => {
    const packages = commands
      .filter((command) => command.includes("apt-get install"))
      .flatMap((command) => command.split(" ").slice(2))
      .filter((word) => !word.startsWith("-"));
    expect(packages).toContain("g++");
    expect(packages.filter((each) => !documented.includes(each))).toEqual([]);
  });

  test("runs commands that are documented", () => {
    const rest = commands
      .filter((command) => !command.startsWith("apt-get "))
      .map((command) => command.replace(/ (\/opt\/\S+|peers)$/, "").replace(/ --no-(audit|fund)/g, ""));
    expect(rest.length).toBeGreaterThan(1);
    expect(rest.filter((command) => !documented.includes(command))).toEqual([]);
    const called = rest.flatMap((command) => command.match(/^npm run (\S+)$/)?.[1] ?? []);
    expect(called).toEqual(["build"]);
    expect(called.filter((script) => !(script in scripts))).toEqual([]);
  });

  test("has a Node that the package runs on, and starts a file that exists", () => {
    const version = Number(instructions("FROM")[0]?.match(/node:(\d+)/)?.[1]);
    expect(version).toBeGreaterThanOrEqual(Number.parseFloat(engines.node.replace(">=", "")));
    const [runtime, started = ""] = JSON.parse(instructions("ENTRYPOINT")[0] ?? "[]") as string[];
    expect(runtime).toBe("node");
    expect(existsSync(path(started.replace(/^\/opt\/gblr\//, "")))).toBe(true);
  });
});
