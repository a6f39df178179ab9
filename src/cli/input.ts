/** Reading files that the command line names: errors say which file and what to do. */
import { readFileSync, writeFileSync } from "node:fs";
import { BpfkitError } from "../core/errors.ts";

/** The bytes of `path`; "-" is standard input. */
export function readInput(path: string): Buffer {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (error) {
    throw new BpfkitError("FILE", `${path}: ${reason(error)}`, { cause: error });
  }
}

/** Writes `data` to `path`; "-" is standard output. */
export function writeOutput(path: string, data: string | Uint8Array): void {
  if (path === "-") {
    process.stdout.write(data);
    return;
  }
  try {
    writeFileSync(path, data);
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new BpfkitError("FILE", `${path}: ${absent ? "there is no such directory" : reason(error)}`, {
      cause: error,
    });
  }
}

function reason(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
      return "permission denied";
    case "EISDIR":
      return "it is a directory";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
