/**
 * The fixed-layout records of ELF64 headers, declared with binary-parser. They are read a few dozen
 * times a file; symbols and relocations, which are read by the hundred thousand, are not declared here.
 */
import { Parser } from "binary-parser";
import type { Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";

export interface RawEhdr {
  readonly type: number;
  readonly machine: number;
  readonly version: number;
  readonly entry: bigint;
  readonly phoff: bigint;
  readonly shoff: bigint;
  readonly flags: number;
  readonly ehsize: number;
  readonly phentsize: number;
  readonly phnum: number;
  readonly shentsize: number;
  readonly shnum: number;
  readonly shstrndx: number;
}

export interface RawShdr {
  readonly name: number;
  readonly type: number;
  readonly flags: bigint;
  readonly addr: bigint;
  readonly offset: bigint;
  readonly size: bigint;
  readonly link: number;
  readonly info: number;
  readonly addralign: bigint;
  readonly entsize: bigint;
}

export interface RawPhdr {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: bigint;
  readonly memsz: bigint;
  readonly align: bigint;
}

/** Size in bytes of each record. */
export const SIZE = { ident: 16, ehdr: 64, shdr: 64, phdr: 56, sym: 24, rel: 16, rela: 24, nhdr: 12 } as const;

const ehdr = (endian: Endian): Parser =>
  new Parser()
    .endianness(endian)
    .seek(SIZE.ident)
    .uint16("type")
    .uint16("machine")
    .uint32("version")
    .uint64("entry")
    .uint64("phoff")
    .uint64("shoff")
    .uint32("flags")
    .uint16("ehsize")
    .uint16("phentsize")
    .uint16("phnum")
    .uint16("shentsize")
    .uint16("shnum")
    .uint16("shstrndx");

const shdr = (endian: Endian): Parser =>
  new Parser()
    .endianness(endian)
    .uint32("name")
    .uint32("type")
    .uint64("flags")
    .uint64("addr")
    .uint64("offset")
    .uint64("size")
    .uint32("link")
    .uint32("info")
    .uint64("addralign")
    .uint64("entsize");

const phdr = (endian: Endian): Parser =>
  new Parser()
    .endianness(endian)
    .uint32("type")
    .uint32("flags")
    .uint64("offset")
    .uint64("vaddr")
    .uint64("paddr")
    .uint64("filesz")
    .uint64("memsz")
    .uint64("align");

interface Record<T> {
  readonly size: number;
  readonly make: (endian: Endian) => Parser;
  /** Made on first use: binary-parser generates code, which costs about a millisecond. */
  readonly made: Partial<{ [E in Endian]: Parser }>;
  readonly as?: T;
}

export const EHDR: Record<RawEhdr> = { size: SIZE.ehdr, make: ehdr, made: {} };
export const SHDR: Record<RawShdr> = { size: SIZE.shdr, make: shdr, made: {} };
export const PHDR: Record<RawPhdr> = { size: SIZE.phdr, make: phdr, made: {} };

/**
 * Parses one record at the start of `bytes`. `at` says where `bytes` lies, for the error.
 *
 * @throws DecodeError when `bytes` is shorter than the record
 */
export function parseRecord<T>(
  record: Record<T>,
  bytes: Uint8Array,
  endian: Endian,
  at: { what: string; offset: number; path: readonly string[] },
): T {
  if (bytes.length < record.size) {
    throw new DecodeError(at.what, `expected ${record.size} bytes, ${bytes.length} are left`, at);
  }
  const parser = (record.made[endian] ??= record.make(endian));
  try {
    return parser.parse(bytes) as T;
  } catch (cause) {
    throw new DecodeError(at.what, cause instanceof Error ? cause.message : String(cause), { ...at, cause });
  }
}
