// Runs a module of this package in a child process of the same runtime, and describes a failure in one line.

import { spawn } from "node:child_process";
import process from "node:process";
import { oneLine } from "./program.ts";

interface SubprocessOptions {
  /** first argument of the module */
  argument: string;
  /** seconds after which the process is killed */
  patience: number;
}

/**
 * Runs the module and returns the last line of its stdout. Native libraries may print lines before it.
 * @throws Error with a message such as `crashed with SIGSEGV`, `no answer within 30 s`, `ended with exit code 1: …`
 */
export function outputOf(module: string, { argument, patience }: SubprocessOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, module, argument], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        output[name] += text;
      });
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, patience * 1000);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`${process.execPath} could not be started: ${oneLine(error.message)}`));
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (late) reject(new Error(`no answer within ${patience} s`));
      else if (signal !== null) reject(new Error(`crashed with ${signal}`));
      else if (code !== 0) reject(new Error(`ended with exit code ${code}${complaint(output.stderr)}`));
      else resolve(lastLine(output.stdout));
    });
  });
}

/** The line of stderr with the error, or the last line. Runtimes print the source and a stack trace around it. */
function complaint(stderr: string): string {
  const line = stderr.split("\n").find((line) => /error/i.test(line)) ?? lastLine(stderr);
  return line === "" ? "" : `: ${oneLine(line)}`;
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
