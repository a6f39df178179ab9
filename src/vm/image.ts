/** A program made ready to run: columns, targets of jumps and calls, what each instruction reads and writes. */
import { FORM, FORM_OF, checkInsn, illegalInsnError, toColumns } from "../asm/index.ts";
import type { InsnColumns } from "../asm/index.ts";
import * as op from "../asm/opcode.ts";
import { ArgumentError } from "../core/errors.ts";
import type { ProgSpec } from "../elf/spec.ts";
import { helperById } from "../uapi/index.ts";
import { FUNC_BASE } from "./memory.ts";

/** What a program refers to, resolved by the VM that runs it. */
export interface Resolver {
  /** What a pointer to this map looks like. */
  mapPointer(name: string): number;
  /** Address and region of entry 0 of this map. */
  mapValue(name: string): { readonly address: number; readonly region: number };
  /** Address of a kernel variable; undefined when the world has none. */
  ksym(name: string): number | undefined;
}

export interface Image {
  readonly spec: ProgSpec;
  readonly columns: InsnColumns;
  /** Low and high half of each ld_imm64, by its first slot; the region of its pointer. */
  readonly wideLo: Int32Array;
  readonly wideHi: Int32Array;
  readonly wideRegion: Int32Array;
  /** Registers read (and to be initialised before) and written, one bit for each. */
  readonly reads: Uint16Array;
  readonly writes: Uint16Array;
  /** Slots from a jump, branch or call to its target; 0 for other instructions. */
  readonly target: Int32Array;
  /** Kfuncs by slot. */
  readonly kfuncs: ReadonlyMap<number, string>;
  /** First slots of functions that are called or whose address is taken; 0 among them. */
  readonly functions: ReadonlySet<number>;
  /** Instructions with fields that they must not have, and what is wrong: to run one is a fault. */
  readonly illegal: ReadonlyMap<number, string>;
}

/** Registers that a call leaves unusable: r1-r5. */
export const CALLER_SAVED = 0b11_1110;

const bit = (reg: number): number => 1 << reg;

/**
 * @throws DecodeError code "ILLEGAL_INSN" for what is no instruction, or a jump that leaves the program
 * @throws ArgumentError for CO-RE relocations that nobody applied
 */
export function makeImage(spec: ProgSpec, resolver: Resolver): Image {
  const { insns } = spec;
  const columns = toColumns(insns);
  const n = insns.length;
  const image = {
    spec,
    columns,
    wideLo: new Int32Array(n),
    wideHi: new Int32Array(n),
    wideRegion: new Int32Array(n),
    reads: new Uint16Array(n),
    writes: new Uint16Array(n),
    target: new Int32Array(n),
    kfuncs: new Map<number, string>(),
    functions: new Set<number>([0]),
    illegal: new Map<number, string>(),
  };
  if (n === 0) throw new ArgumentError("spec.insns", `program ${spec.name} has no instructions`);
  const starts = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const illegal = checkInsn(insns, i);
    const { opcode, dst, src, off, imm } = insns[i]!;
    const form = FORM_OF[opcode]!;
    if (illegal !== undefined) {
      // The kernel looks at the fields of what it reaches only.
      const wideField = illegal.field === "off" || illegal.field === "dst";
      if (form === FORM.ILLEGAL || (form === FORM.LD_IMM64 && !wideField)) throw illegalInsnError(i, illegal);
      starts[i] = 1;
      image.illegal.set(i, illegal.message);
      columns.opcode[i] = 0;
      if (form === FORM.LD_IMM64) i++;
      continue;
    }
    starts[i] = 1;
    if (form === FORM.LD_IMM64) {
      wide(image, i, insns[i + 1]!.imm);
      image.writes[i] = bit(dst);
      i++;
      continue;
    }
    switch (form) {
      case FORM.JA:
      case FORM.MAY_GOTO:
      case FORM.BRANCH_K:
      case FORM.BRANCH_X:
        image.target[i] = i + 1 + off;
        break;
      case FORM.GOTOL:
        image.target[i] = i + 1 + imm;
        break;
      case FORM.CALL:
        if (src === op.BPF_PSEUDO_CALL) {
          image.target[i] = i + 1 + imm;
          image.functions.add(i + 1 + imm);
        }
        break;
      default:
    }
    effects(image, i, form);
  }
  // An exception callback is called by nobody.
  for (const f of spec.funcs) if (starts[f.insn] === 1) image.functions.add(f.insn);
  refs(image, resolver);
  for (let i = 0; i < n; i++) {
    const to = image.target[i]!;
    const form = FORM_OF[columns.opcode[i]!]!;
    const jumps = form >= FORM.JA && form <= FORM.BRANCH_X;
    if (starts[i] === 1 && (jumps || to !== 0) && starts[to] !== 1) {
      throw illegalInsnError(i, { field: jumps ? "off" : "imm", message: `jump out of range from insn ${i} to ${to}` });
    }
  }
  return image;
}

interface Mutable extends Image {
  readonly kfuncs: Map<number, string>;
  readonly functions: Set<number>;
}

function wide(image: Mutable, i: number, hi: number): void {
  const { src, imm } = image.columns;
  switch (src[i]) {
    case op.BPF_PSEUDO_FUNC: {
      const to = i + 1 + imm[i]!;
      image.functions.add(to);
      image.target[i] = to;
      image.wideLo[i] = FUNC_BASE + to;
      break;
    }
    case 0:
      image.wideLo[i] = imm[i]!;
      image.wideHi[i] = hi;
      break;
    default:
      // Filled in by `refs`; what no ref names has no value here.
      image.wideRegion[i] = -1;
  }
}

function refs(image: Mutable, resolver: Resolver): void {
  const { spec, columns } = image;
  if (spec.coreRelos.length > 0) {
    throw new ArgumentError(
      "spec.coreRelos",
      `program ${spec.name} has ${spec.coreRelos.length} CO-RE relocations: give the types to relocate it against`,
    );
  }
  for (const ref of spec.refs) {
    const i = ref.insn;
    switch (ref.kind) {
      case "map":
        image.wideLo[i] = resolver.mapPointer(ref.map);
        image.wideHi[i] = 0;
        image.wideRegion[i] = 0;
        break;
      case "map-value": {
        const { address, region } = resolver.mapValue(ref.map);
        image.wideLo[i] = address + ref.offset;
        image.wideHi[i] = 0;
        image.wideRegion[i] = region;
        break;
      }
      case "kfunc":
        image.kfuncs.set(i, ref.name);
        break;
      case "ksym": {
        const address = resolver.ksym(ref.name);
        if (address === undefined && !ref.weak) {
          throw new ArgumentError(
            "spec",
            `program ${spec.name} uses the kernel variable ${ref.name}: the world has none`,
          );
        }
        image.wideLo[i] = address ?? 0;
        image.wideHi[i] = 0;
        image.wideRegion[i] = 0;
        break;
      }
      case "func":
      case "subprog":
        image.functions.add(ref.target);
        if (ref.kind === "func") image.wideLo[i] = FUNC_BASE + ref.target;
        image.target[i] = ref.target;
        break;
      default:
    }
  }
  for (let i = 0; i < columns.length; i++) {
    if (image.wideRegion[i] === -1) {
      throw illegalInsnError(i, {
        field: "src",
        message: "ld_imm64 of a map or kernel object that no reference names",
      });
    }
  }
}

function effects(image: Mutable, i: number, form: number): void {
  const { columns } = image;
  const dst = bit(columns.dst[i]!);
  const src = bit(columns.src[i]!);
  let reads = 0;
  let writes = 0;
  switch (form) {
    case FORM.ALU_K:
    case FORM.DIV_K:
    case FORM.NEG:
    case FORM.END:
    case FORM.BSWAP:
      reads = dst;
      writes = dst;
      break;
    case FORM.ALU_X:
    case FORM.DIV_X:
      reads = dst | src;
      writes = dst;
      break;
    case FORM.MOV_K:
      writes = dst;
      break;
    case FORM.MOV_X:
    case FORM.LDX:
    case FORM.LDSX:
      reads = src;
      writes = dst;
      break;
    case FORM.ST:
    case FORM.BRANCH_K:
      reads = dst;
      break;
    case FORM.STX:
    case FORM.BRANCH_X:
      reads = dst | src;
      break;
    case FORM.ATOMIC: {
      const imm = columns.imm[i]!;
      if (imm === op.BPF_LOAD_ACQ) {
        reads = src;
        writes = dst;
      } else if (imm === op.BPF_STORE_REL) reads = dst | src;
      else {
        reads = dst | src | (imm === op.BPF_CMPXCHG ? 1 : 0);
        if (imm === op.BPF_CMPXCHG) writes = 1;
        else if ((imm & op.BPF_FETCH) !== 0) writes = src;
      }
      break;
    }
    case FORM.LD_ABS:
      writes = 1;
      break;
    case FORM.LD_IND:
      reads = src;
      writes = 1;
      break;
    case FORM.CALL:
      if (columns.src[i] === 0) {
        const row = helperById(columns.imm[i]!);
        row?.args.forEach((arg, k) => {
          if (arg.type !== "ARG_DONTCARE") reads |= bit(k + 1);
        });
        writes = row?.ret.type === "RET_VOID" ? 0 : 1;
      } else if (columns.src[i] === op.BPF_PSEUDO_KFUNC_CALL) writes = 1;
      break;
    default:
  }
  image.reads[i] = reads;
  image.writes[i] = writes;
}
