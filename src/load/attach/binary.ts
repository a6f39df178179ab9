/** Finds the file behind a command or library name, and places in it. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  realpathSync,
} from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { ArgumentError, BpfkitError } from "../../core/errors.ts";
import { FunctionTable } from "../../elf/functions.ts";
import { Elf } from "../../elf/reader.ts";

/** Directories that the dynamic loader searches, after those of /etc/ld.so.conf.d. */
const LIBRARY_DIRS = ["/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/usr/lib64"];

/**
 * Path of what `name` means: a path as it is, a command found in PATH, or a library by
 * its soname or short name ("c" is libc.so.6). With a pid, a library that this process
 * has mapped comes first, through /proc/PID/root so that containers work.
 */
export function resolveBinary(name: string, pid?: number): string {
  if (name.includes("/")) {
    const path = isAbsolute(name) ? name : resolve(name);
    if (pid !== undefined && isAbsolute(name) && existsSync(`/proc/${pid}/root${path}`) && !existsSync(path))
      return `/proc/${pid}/root${path}`;
    if (!existsSync(path)) throw new BpfkitError("NO_BINARY", `there is no file ${path}`);
    return path;
  }
  if (pid !== undefined) {
    const mapped = mappedLibrary(name, pid);
    if (mapped !== undefined) return mapped;
  }
  const library = /\.so(\.|$)/.test(name);
  const found = (library ? undefined : findCommand(name)) ?? findLibrary(name);
  if (found === undefined) {
    throw new BpfkitError(
      "NO_BINARY",
      `found neither a command nor a library called ${JSON.stringify(name)}: give its path`,
    );
  }
  return found;
}

function findCommand(name: string): string | undefined {
  for (const dir of [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"]) {
    if (dir === "") continue;
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return realpathSync(file);
    } catch {
      continue;
    }
  }
  return undefined;
}

function isLibrary(file: string, name: string): boolean {
  return (
    file === name ||
    file === `lib${name}.so` ||
    file.startsWith(`lib${name}.so.`) ||
    (name.includes(".so") && file.startsWith(`${name}.`))
  );
}

function findLibrary(name: string): string | undefined {
  for (const dir of libraryDirs()) {
    let files: string[];
    try {
      files = readdirSync(dir);
    } catch {
      continue;
    }
    // The shortest is the soname's link (libc.so.6), longer ones are versions. A plain .so may be a linker script.
    for (const file of files.filter((f) => isLibrary(f, name)).toSorted((a, b) => a.length - b.length)) {
      const path = join(dir, file);
      if (isElf(path)) return realpathSync(path);
    }
  }
  return undefined;
}

function libraryDirs(): string[] {
  const dirs: string[] = [];
  try {
    for (const file of readdirSync("/etc/ld.so.conf.d").toSorted()) {
      if (!file.endsWith(".conf")) continue;
      for (const line of readFileSync(join("/etc/ld.so.conf.d", file), "utf8").split("\n")) {
        if (line.startsWith("/")) dirs.push(line.trim());
      }
    }
  } catch {
    // musl and others have no such directory.
  }
  const env = (process.env["LD_LIBRARY_PATH"] ?? "").split(":").filter((d) => d !== "");
  return [...env, ...dirs, ...LIBRARY_DIRS];
}

function isElf(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return false;
  }
  try {
    const magic = Buffer.alloc(4);
    return readSync(fd, magic, 0, 4, 0) === 4 && magic.toString("latin1") === "\x7fELF";
  } finally {
    closeSync(fd);
  }
}

function mappedLibrary(name: string, pid: number): string | undefined {
  let maps: string;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, "utf8");
  } catch {
    throw new BpfkitError("NO_PROCESS", `there is no process ${pid} (or its /proc/${pid}/maps cannot be read)`);
  }
  for (const [, path] of maps.matchAll(/^\S+ r-xp \S+ \S+ [1-9]\d*\s+(\/.+)$/gm)) {
    if (path !== undefined && isLibrary(path.slice(path.lastIndexOf("/") + 1), name)) {
      const inRoot = `/proc/${pid}/root${path}`;
      return existsSync(path) ? path : inRoot;
    }
  }
  return undefined;
}

/** Opens an ELF file for random access; only what is asked for is read. */
export function withElf<T>(path: string, use: (elf: Elf) => T): T {
  const fd = openSync(path, "r");
  try {
    const size = fstatSync(fd).size;
    const read = (offset: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const n = readSync(fd, bytes, done, length - done, offset + done);
        if (n === 0) break;
        done += n;
      }
      return bytes.subarray(0, done);
    };
    return use(Elf.open({ size, read }, { name: path }));
  } finally {
    closeSync(fd);
  }
}

/** The byte offset in the file at which a uprobe goes. */
export function symbolOffset(path: string, target: { symbol?: string; address?: bigint; offset?: number }): number {
  if (target.symbol === undefined && target.address === undefined) {
    if (target.offset === undefined) throw new ArgumentError("target", "expected a symbol, an address or an offset");
    return target.offset;
  }
  return withElf(path, (elf) => {
    if (target.symbol !== undefined) {
      const found = findFunction(elf, target.symbol);
      if (found === undefined) throw noSymbol(elf, path, target.symbol);
      return found + (target.offset ?? 0);
    }
    const address = target.address ?? 0n;
    const offset = elf.fileOffset(address);
    if (offset === undefined)
      throw new BpfkitError("NO_SYMBOL", `${path}: the address 0x${address.toString(16)} is in no loaded segment`);
    return offset;
  });
}

function findFunction(elf: Elf, name: string): number | undefined {
  const symbol = elf.findSymbol(name);
  return symbol === undefined ? undefined : elf.fileOffset(symbol.value);
}

function noSymbol(elf: Elf, path: string, name: string): BpfkitError {
  const near: string[] = [];
  for (const f of new FunctionTable(elf)) {
    if (near.length < 3 && f.name.includes(name)) near.push(f.name);
  }
  const hint =
    near.length > 0
      ? `; there are ${near.join(", ")}`
      : elf.section(".symtab") === undefined
        ? "; it is stripped, so only its dynamic symbols are known"
        : "";
  return new BpfkitError("NO_SYMBOL", `${path} has no function ${name}${hint}`);
}
