/**
 * What reading an object, or compiling a TypeScript module, gives: plain data, the
 * same on every machine. Only `src/load` turns it into something that lives in a kernel.
 *
 * Instructions here are *before* CO-RE relocation and before map fds are known;
 * `refs` and `coreRelos` say what has still to be filled in.
 */
import type { Endian } from "../core/bytes.ts";
import type { Insn } from "../asm/insn.ts";
import type { Span } from "../core/diagnostic.ts";

/** Everything that one ELF object or one TypeScript module defines. */
export interface CollectionSpec {
  readonly name: string;
  readonly endian: Endian;
  readonly license: string;
  /** `LINUX_VERSION_CODE` of the object's "version" section; 0 when absent. */
  readonly kernelVersion: number;
  /**
   * BTF of local types, if there is any. `readObject` gives that of the object with what only the ELF file
   * knows filled in (sizes and offsets in DATASECs, hidden symbols made static). `prepareBtf` makes of it
   * what BPF_BTF_LOAD takes.
   */
  readonly btf: Uint8Array | undefined;
  readonly maps: readonly MapSpec[];
  readonly progs: readonly ProgSpec[];
  /** Sources by file name as they appear in `lines`, for diagnostics. */
  readonly sources: ReadonlyMap<string, string>;
}

/** One map to create. Sizes in bytes. */
export interface MapSpec {
  readonly name: string;
  /** `BPF_MAP_TYPE_*`, see `src/uapi/map-types.ts`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** 0 lets the loader choose (number of CPUs for a perf event array). */
  readonly maxEntries: number;
  /** `BPF_F_*` of map creation. */
  readonly flags: number;
  readonly mapExtra: bigint;
  readonly numaNode: number | undefined;
  /** BTF type ids in the collection's BTF; 0 = none. */
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  /** BTF id in the *kernel's* BTF is looked up by this struct name (struct_ops maps). */
  readonly structOps: string | undefined;
  /** Template of the inner maps of array_of_maps and hash_of_maps. */
  readonly inner: MapSpec | undefined;
  /**
   * Initial entries of map-in-map and prog_array: map or prog names by index. In a struct_ops map the
   * programs of its function pointers: `key` is the pointer's byte offset in `data`.
   */
  readonly initialSlots: readonly { readonly key: number; readonly target: string }[];
  /**
   * Initial value of entry 0 of a `.data/.rodata/.bss/.kconfig` array or struct_ops map, initial pages of
   * an arena; zeros when undefined.
   */
  readonly data: Uint8Array | undefined;
  /** Read-only for programs and frozen after the data is written (`.rodata`, `.kconfig`). */
  readonly frozen: boolean;
  readonly pinning: "none" | "by-name";
  /** Globals in `data`: name, offset, size, BTF type id. */
  readonly variables: readonly VariableSpec[];
  /**
   * ELF section: ".maps", ".rodata", ".data.foo", ".bss", ".kconfig", ".struct_ops.link", …. Says what
   * kind of map this is where the name cannot: `writeObject` takes a name such as "probe.rodata" or
   * ".bss" for that section when this is left out, and ".maps" otherwise.
   */
  readonly section?: string;
  /** False for struct_ops maps in a section whose name starts with "?"; true when left out. */
  readonly autocreate?: boolean;
}

export interface VariableSpec {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  /** Type of the variable in the collection's BTF (the VAR's type, not the VAR); 0 = unknown. */
  readonly btfTypeId: number;
  /** `.kconfig` only: an option that the kernel's configuration lacks leaves zero instead of failing. */
  readonly weak?: boolean;
}

/** One program to load: its entry function first, then the subprograms it reaches. */
export interface ProgSpec {
  /** Function name of the entry, as BTF has it. */
  readonly name: string;
  /** SEC() name, such as "tracepoint/syscalls/sys_enter_execve". */
  readonly section: string;
  /** `BPF_PROG_TYPE_*`; 0 (unspec) when the section names none. */
  readonly type: number;
  /** `BPF_*` attach type; 0 when the section names none. */
  readonly expectedAttachType: number;
  /** What follows the first `/` of the section, when the section takes a target. */
  readonly attachTo: string | undefined;
  readonly autoload: boolean;
  /** `BPF_F_SLEEPABLE`, `BPF_F_XDP_HAS_FRAGS`, … from the section. */
  readonly flags: number;
  readonly insns: readonly Insn[];
  readonly refs: readonly InsnRef[];
  readonly funcs: readonly FuncInfo[];
  readonly lines: readonly LineInfo[];
  readonly coreRelos: readonly CoreRelo[];
}

/**
 * An instruction whose value is only known at load. `insn` is a slot index into `ProgSpec.insns`. The
 * instruction itself already has the right `src` (BPF_PSEUDO_*), and 0 where the loader's value goes; a
 * "map-value" has its offset in the second slot's `imm`. `btfTypeId` is the FUNC or VAR in the collection's BTF.
 */
export type InsnRef =
  /** ld_imm64 of a map's fd. */
  | { readonly kind: "map"; readonly insn: number; readonly map: string }
  /** ld_imm64 of the address of a global: entry 0 of `map` plus `offset` bytes. */
  | { readonly kind: "map-value"; readonly insn: number; readonly map: string; readonly offset: number }
  /** Call of a kernel function, by BTF name; `weak` may be absent (the call is then poisoned). */
  | {
      readonly kind: "kfunc";
      readonly insn: number;
      readonly name: string;
      readonly weak: boolean;
      readonly btfTypeId: number;
    }
  /** ld_imm64 of a kernel variable's address; typed ones are looked up in the kernel's BTF. */
  | {
      readonly kind: "ksym";
      readonly insn: number;
      readonly name: string;
      readonly weak: boolean;
      readonly typed: boolean;
      readonly btfTypeId: number;
    }
  /** ld_imm64 of a subprogram's address (callbacks): `target` is a slot index into `insns`. */
  | { readonly kind: "func"; readonly insn: number; readonly target: number }
  /** A bpf-to-bpf call: `target` is a slot index; `insns[insn].imm` is already relative. */
  | { readonly kind: "subprog"; readonly insn: number; readonly target: number };

/** func_info: BTF FUNC id of the (sub)program that starts at slot `insn`. */
export interface FuncInfo {
  readonly insn: number;
  readonly typeId: number;
  readonly name: string;
}

/** line_info: from slot `insn` on, the code comes from here. */
export interface LineInfo {
  readonly insn: number;
  readonly file: string;
  /** The text of the source line, as BTF keeps it. */
  readonly text: string;
  /** From 1. */
  readonly line: number;
  /** From 1; 0 when unknown. */
  readonly col: number;
  /** The exact range, known when our own compiler made the program. */
  readonly span?: Span;
}

/** A CO-RE relocation record, as `.BTF.ext` has it. `kind` is 0-12 (`bpf_core_relo_kind`). */
export interface CoreRelo {
  /** Slot index into `ProgSpec.insns`. */
  readonly insn: number;
  /** BTF type id of the root type in the collection's BTF. */
  readonly typeId: number;
  /** "0:1:2" access string. */
  readonly access: string;
  readonly kind: number;
}
