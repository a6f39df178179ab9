/**
 * `ProgLoad`: everything that BPF_PROG_LOAD is given, as plain data, the same for the verifier and for bug reports.
 * `capture.ts` has its JSON form.
 */
import type { Insn } from "../asm/insn.ts";
import type { Btf } from "../btf/btf.ts";

export interface LoadMap {
  readonly name: string;
  /** BPF_MAP_TYPE */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly extra: bigint;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
  readonly btfVmlinuxValueTypeId: number;
  /** The map's types are in the program's BTF. Else `btf`. */
  readonly btf: Btf | null;
  readonly inner: LoadMap | null;
  readonly frozen: boolean;
  /** Contents of a frozen one-entry array, which the verifier reads as constants. */
  readonly data: Uint8Array | null;
}

export interface FuncInfo {
  readonly insnOff: number;
  readonly typeId: number;
}

export interface LineInfo {
  readonly insnOff: number;
  readonly fileNameOff: number;
  readonly lineOff: number;
  readonly lineCol: number;
}

/** A kernel symbol that a ld_imm64 (src 3) names: `insn` has `btfId` of vmlinux; libbpf's view, kept for error texts. */
export interface LoadKsym {
  readonly insn: number;
  readonly btfId: number;
  readonly name: string;
}

/** A kernel function that the call at `insn` names; `imm` has its `btfId`. */
export interface LoadKfunc {
  readonly insn: number;
  readonly btfId: number;
  readonly name: string;
  /** Where it lives when that is not vmlinux; `off` of the call is the index into `moduleBtfs`. */
  readonly module?: string | undefined;
}

export interface ProgLoad {
  readonly name: string;
  readonly progType: number;
  readonly expectedAttachType: number;
  readonly attachBtfId: number;
  /** BTF of attachBtfId when it is a program's (freplace, fentry on BPF); null: vmlinux. */
  readonly attachProg: AttachProg | null;
  readonly progFlags: number;
  readonly progIfindex: number;
  readonly license: string;
  readonly insns: readonly Insn[];
  /** ld_imm64 with src 1, 2, 5, 6 has an index into this list as imm; -1: a bad fd. */
  readonly maps: readonly LoadMap[];
  /** File descriptors of the ld_imm64 whose map index is -1, by insn. */
  readonly badMapFds: ReadonlyMap<number, number>;
  readonly btf: Btf | null;
  readonly vmlinuxBtf: Btf | null;
  /** Module BTFs, by fd_array index (the `off` of a kfunc call). */
  readonly moduleBtfs: ReadonlyMap<number, Btf>;
  readonly funcInfoRecSize: number;
  readonly funcInfo: Uint8Array;
  readonly lineInfoRecSize: number;
  readonly lineInfo: Uint8Array;
  readonly ksyms: readonly LoadKsym[];
  /** Whether BPF_PROG_LOAD is given an fd_array; false makes what refers to one an error. Default: true. */
  readonly fdArray?: boolean;
  /** nr_cpu_ids of the machine: the verifier bounds bpf_get_smp_processor_id by it. Default 128. */
  readonly possibleCpus?: number | undefined;
  /** Names behind ids of the kernel's BTF, so that a capture can be read with another kernel's. */
  readonly kfuncs?: readonly LoadKfunc[] | undefined;
  readonly attachName?: string | undefined;
  /** Names of `moduleBtfs`, by the same index. */
  readonly moduleNames?: ReadonlyMap<number, string> | undefined;
}

/** The program that a freplace or a tracing program attaches to. */
export interface AttachProg {
  readonly progType: number;
  readonly expectedAttachType: number;
  readonly btf: Btf;
  /** FUNC ids of its subprograms in order, and whether each is global and reliable; what else is not told counts as no. */
  readonly funcs: readonly {
    readonly btfId: number;
    readonly global: boolean;
    readonly unreliable: boolean;
    readonly changesPktData?: boolean;
    readonly mightSleep?: boolean;
  }[];
}
