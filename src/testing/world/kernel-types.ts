/** Types of kernels that come with the package: what tests and `verify` use where that kernel does not run. */
import { Btf } from "../../btf/btf.ts";
import type { TracepointField, TracepointFormat } from "../../compiler/front/targets.ts";
import { ArgumentError, DecodeError, NotSupportedError } from "../../core/errors.ts";
import type { KernelTypes } from "./types.ts";

/** Kernels whose types are in the package: Debian's 6.1 and 6.12, and a 6.18; all x86-64. */
export const PACKAGED_KERNELS = ["6.1", "6.12", "6.18"] as const;
export type PackagedKernel = (typeof PACKAGED_KERNELS)[number];

/** The two files of a kernel, as they are in the package's `data/kernels` or unpacked. */
export interface KernelFiles {
  readonly btf: Uint8Array;
  readonly events: Uint8Array;
}

const loaded = new Map<string, KernelTypes>();
const provided = new Map<string, KernelFiles>();

/**
 * Types and trace events of a packaged kernel, read when first asked for (3 ms) and kept. The types are those that
 * programs can get at: tracing targets, contexts, kfuncs, helpers, and what they lead to.
 *
 * @throws NotSupportedError for another kernel; where files cannot be read (a browser) and `provideKernel` was not called
 * @example
 * const { btf, tracepointFormat } = packagedKernel("6.1");
 * btf.findByName("task_struct", "struct")?.size;
 * tracepointFormat("syscalls:sys_enter_execve")?.fields.map((f) => f.name);
 */
export function packagedKernel(name: string): KernelTypes {
  let kernel = loaded.get(name);
  if (kernel === undefined) {
    if (!(PACKAGED_KERNELS as readonly string[]).includes(name)) {
      throw new NotSupportedError(
        "kernel types",
        `there are no types of a kernel ${JSON.stringify(name)} in the package: there are those of ${PACKAGED_KERNELS.join(", ")}`,
      );
    }
    const files = provided.get(name);
    kernel =
      files === undefined
        ? ofFiles(name, readFile(name, `${name}.btf.gz`), true, () => readFile(name, `${name}.events.gz`))
        : ofFiles(name, files.btf, false, () => files.events);
    loaded.set(name, kernel);
  }
  return kernel;
}

/**
 * Hands over a kernel's files where there is no file system: `data/kernels/NAME.btf.gz` and `NAME.events.gz`, as they are served.
 *
 * @example
 * // in a browser, before simulate(probe, { kernel: "6.1" }):
 * // const get = async (file: string) => new Uint8Array(await (await fetch(`/kernels/${file}`)).arrayBuffer());
 * // await provideKernel("6.1", { btf: await get("6.1.btf.gz"), events: await get("6.1.events.gz") });
 */
export async function provideKernel(name: PackagedKernel, files: KernelFiles): Promise<void> {
  const [btf, events] = await Promise.all([inflate(files.btf), inflate(files.events)]);
  provided.set(name, { btf, events });
  loaded.delete(name);
}

/** Types of any kernel: of the one that runs, or of a BTF file. `formats` says what is known of its trace events. */
export function kernelTypesOf(
  btf: Btf,
  options: {
    readonly name?: string;
    readonly release?: string;
    readonly formats?: (name: string) => TracepointFormat | undefined;
    readonly names?: () => readonly string[];
  } = {},
): KernelTypes {
  return {
    name: options.name ?? "live",
    release: options.release ?? options.name ?? "",
    btf,
    tracepointFormat: options.formats ?? ((): undefined => undefined),
    tracepointNames: options.names ?? ((): readonly string[] => []),
  };
}

function ofFiles(name: string, btf: Uint8Array, trusted: boolean, readEvents: () => Uint8Array): KernelTypes {
  let events: string | undefined;
  const text = (): string => (events ??= new TextDecoder().decode(readEvents()));
  return {
    name,
    get release(): string {
      return text().slice(0, text().indexOf("\n"));
    },
    btf: Btf.parse(btf, { what: `BTF of Linux ${name}`, trusted, ...findBytes() }),
    tracepointFormat: (event) => eventFormat(text(), event),
    tracepointNames: () =>
      text()
        .split("\n")
        .slice(1)
        .filter((line) => line !== "")
        .map((line) => line.split("\t", 1)[0]!),
  };
}

/** The line of an event, as scripts/kernel-types/make.mts writes it. */
function eventFormat(text: string, event: string): TracepointFormat | undefined {
  if (!/^[\w.-]+:[\w.-]+$/.test(event)) {
    throw new ArgumentError("tracepoint", `expected "category:name", got ${JSON.stringify(event)}`);
  }
  let at = text.indexOf(`\n${event}\t`);
  if (at < 0) at = text.indexOf(`\n${event}\n`);
  if (at < 0) return undefined;
  const line = text.slice(at + 1, text.indexOf("\n", at + 1));
  return { fields: [...COMMON, ...line.split("\t").slice(1).map(fieldOf)] };
}

function fieldOf(text: string): TracepointField {
  const [name = "", type = "", offset, size, flags] = text.split(",");
  const bits = Number(flags);
  const dynamic = (bits & 2) !== 0 ? "data_loc" : (bits & 4) !== 0 ? "rel_loc" : undefined;
  return { name, type, offset: Number(offset), size: Number(size), signed: (bits & 1) !== 0, dynamic };
}

/** What every record begins with. */
const COMMON: readonly TracepointField[] = [
  { name: "common_type", type: "unsigned short", offset: 0, size: 2, signed: false, dynamic: undefined },
  { name: "common_flags", type: "unsigned char", offset: 2, size: 1, signed: false, dynamic: undefined },
  { name: "common_preempt_count", type: "unsigned char", offset: 3, size: 1, signed: false, dynamic: undefined },
  { name: "common_pid", type: "int", offset: 4, size: 4, signed: true, dynamic: undefined },
];

/** Node's own modules without an import of them, so that bundles for browsers are made without it. */
function builtin<T>(id: string): T | undefined {
  const host = (globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }).process;
  return host?.getBuiltinModule?.(id) as T | undefined;
}

interface FileSystem {
  readonly existsSync: (path: URL) => boolean;
  readonly readFileSync: (path: URL) => Uint8Array;
}
interface Zlib {
  readonly gunzipSync: (bytes: Uint8Array, options: { chunkSize: number }) => Uint8Array;
}

/** A file of the package, unpacked: looked for from the directory of this file, or of the bundle that it is in, upwards. */
function readFile(kernel: string, name: string): Uint8Array {
  const fs = builtin<FileSystem>("node:fs");
  const zlib = builtin<Zlib>("node:zlib");
  if (fs !== undefined && zlib !== undefined) {
    for (let base = new URL("./", import.meta.url), i = 0; i < 5; base = new URL("../", base), i++) {
      const file = new URL(`data/kernels/${name}`, base);
      if (base.protocol !== "file:" || !fs.existsSync(file)) continue;
      const bytes = fs.readFileSync(file);
      // The last word of a gzip file is the length: one chunk for all of it, where 16 KiB each would cost 20 ms.
      const length = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4).getUint32(0, true);
      return zlib.gunzipSync(bytes, { chunkSize: length + 64 });
    }
  }
  throw new NotSupportedError(
    "kernel types",
    `the types of Linux ${kernel} cannot be read here: call provideKernel(${JSON.stringify(kernel)}, files) with the package's data/kernels/${kernel}.btf.gz and ${kernel}.events.gz first`,
  );
}

async function inflate(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new DecodeError("kernel types", "expected a whole gzip file", { cause });
  }
}

type Find = (bytes: Uint8Array, text: string, from: number) => number;
interface Buffers {
  readonly Buffer: {
    from(bytes: ArrayBufferLike, offset: number, length: number): { indexOf(text: string, from: number): number };
  };
}

/** Node searches bytes as fast as text; elsewhere the strings are decoded once. */
function findBytes(): { find?: Find } {
  const buffers = builtin<Buffers>("node:buffer");
  if (buffers === undefined) return {};
  return {
    find: (bytes, text, from) => buffers.Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(text, from),
  };
}
