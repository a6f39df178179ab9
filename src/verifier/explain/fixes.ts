/** Mechanical repairs, made on a copy: each returns what could be tried. */
import * as b from "../../asm/build.ts";
import type { Insn } from "../../asm/insn.ts";
import * as op from "../../asm/opcode.ts";
import { ctxLayout, ctxOf } from "../../uapi/ctx.ts";
import { type ProgTypeName, progTypeName } from "../../uapi/prog-types.ts";
import {
  MEM_RINGBUF,
  PTR_MAYBE_NULL,
  PTR_TO_CTX,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET_END,
  PTR_TO_SOCK_COMMON,
  PTR_TO_SOCKET,
  PTR_TO_STACK,
  PTR_TO_TCP_SOCK,
  SCALAR_VALUE,
  STACK_SPILL,
  baseType,
} from "../constants.ts";
import { slotByte } from "../state.ts";
import type { ProgLoad } from "../capture.ts";
import { insertBefore, replaceInsn } from "./edit.ts";
import type { Failure, Fix } from "./failure.ts";
import type { Step } from "./trace.ts";

/** `r0 = 0; exit`: leaving early, wherever that is possible. */
const leave: readonly Insn[] = [b.mov64Imm(0, 0), b.exit()];

const add = (f: Failure, at: number, insns: readonly Insn[]): Fix["load"] => insertBefore(f.load, at, insns);

/** Leave when `reg` is null; else skip the one instruction that uses it. */
export function nullCheck(f: Failure, regs: readonly number[]): Fix[] {
  const at = f.insn;
  if (at === undefined) return [];
  return regs
    .filter((r) => (f.regs[r]?.type ?? 0) & PTR_MAYBE_NULL)
    .flatMap((r) => [
      {
        text: `check it before this line and return when it is null (\`if (!r${r}) return 0\`)`,
        load: add(f, at, [b.jmpImm("jne", r, 0, 2), ...leave]),
      },
      {
        text: `use it only where it is not null (\`if (r${r}) …\`)`,
        load: add(f, at, [b.jmpImm("jeq", r, 0, slotsOf(f, at))]),
      },
    ]);
}

const slotsOf = (f: Failure, at: number): number => (f.load.insns[at]?.opcode === op.LD_IMM64 ? 2 : 1);

/** A register that the last call clobbered: kept over that call in one that calls leave alone. */
export function keepOverCall(f: Failure, reg: number): Fix[] {
  if (reg < 1 || reg > 5) return [];
  const k = f.steps.findLastIndex((s, i) => i < f.steps.length - 1 && s.frame === f.frame && s.text.startsWith("call"));
  const call = f.steps[k];
  if (
    call === undefined ||
    (!call.before.has(`${f.frame}:R${reg}`) &&
      !f.steps.slice(0, k).some((s) => s.after.has(`${f.frame}:R${reg}`)) &&
      f.frame + reg !== 1)
  )
    return [];
  const live = f.env.aux[call.insn]?.liveRegsBefore ?? 0x3ff;
  const keep = [9, 8, 7, 6].find((r) => ((live >>> r) & 1) === 0);
  if (keep === undefined) return [];
  const back = insertBefore(f.load, call.insn + 1, [b.mov64Reg(reg, keep)], true);
  return [
    {
      text: `keep r${reg} over the call in r6 to r9 (\`r${keep} = r${reg}\` before it)`,
      load: back === null ? null : insertBefore(back, call.insn, [b.mov64Reg(keep, reg)]),
    },
  ];
}

/** A number where the helper wants memory: put it on the stack, and pass that address. */
export function addressOfCopy(f: Failure, reg: number): Fix[] {
  if (f.insn === undefined || f.regs[reg]?.type !== SCALAR_VALUE) return [];
  return [
    {
      text: "store the value in a variable on the stack and pass the variable's address",
      load: add(f, f.insn, [b.stxMem("dw", 10, reg, -512), b.mov64Reg(reg, 10), b.alu64Imm("add", reg, -512)]),
    },
  ];
}

/** A constant was added to a context pointer: take it out again, and put it into the access. */
export function foldOffset(f: Failure, reg: number): Fix[] {
  const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
  const addition = f.steps.findLast((s) => {
    const i = f.load.insns[s.insn];
    return s.insn !== f.insn && i?.opcode === (op.BPF_ALU64 | op.BPF_ADD | op.BPF_K) && i.dst === reg;
  });
  const by = addition === undefined ? undefined : f.load.insns[addition.insn];
  if (f.insn === undefined || insn === undefined || addition === undefined || by === undefined) return [];
  const off = insn.off + by.imm;
  if (off < -0x8000 || off > 0x7fff) return [];
  return [
    {
      text: `access the context as it is, at offset ${off}`,
      load: replaceInsn(replaceInsn(f.load, addition.insn, { imm: 0 }), f.insn, { off }),
    },
  ];
}

/** The register is zero from here on. */
export function initialise(f: Failure, reg: number): Fix[] {
  return f.insn === undefined || reg > 9
    ? []
    : [{ text: `give r${reg} a value before this line (0 will do)`, load: add(f, f.insn, [b.mov64Imm(reg, 0)]) }];
}

export function returnValue(f: Failure, value: number): Fix[] {
  return f.insn === undefined ? [] : [{ text: `return ${value} here`, load: add(f, f.insn, [b.mov64Imm(0, value)]) }];
}

/** A bound on `reg` before instruction `at`: leave when it is larger than `max`. */
function boundAt(f: Failure, at: number, reg: number, max: number, min = 0): Fix[] {
  if (max < 0 || max > 0x7fff_ffff || reg > 9) return [];
  const atLeast = min === 0 ? [] : [b.jmpImm("jge", reg, min, 2), ...leave];
  const fixes: Fix[] = [
    {
      text: `check the bound first: return when it is${min === 0 ? "" : ` below ${min} or`} larger than ${max} (\`if (x > ${max}) return 0\`)`,
      load: add(f, at, [...atLeast, b.jmpImm("jle", reg, max, 2), ...leave]),
    },
  ];
  const mask = 2 ** Math.floor(Math.log2(max + 1)) - 1;
  if (mask > 0 && min === 0)
    fixes.push({ text: `mask it: \`x & ${mask}\``, load: add(f, at, [b.alu64Imm("and", reg, mask)]) });
  return fixes;
}

/** Bytes that may be touched at a pointer, from its fixed offset on; undefined when unknown. */
function room(f: Failure, regno: number): number | undefined {
  const r = f.regs[regno];
  if (r === undefined) return undefined;
  switch (baseType(r.type)) {
    case PTR_TO_MAP_VALUE:
      return r.map === null ? undefined : r.map.valueSize - r.off;
    case PTR_TO_MEM:
      return r.memSize - r.off;
    case PTR_TO_STACK:
      return (r.maskLo | r.maskHi) === 0 ? -(r.off + r.valLo) : undefined;
    default:
      return undefined;
  }
}

/** The pointer has a variable part: bound the number that was added to it, where it was added. */
export function boundOffset(f: Failure, regno: number): Fix[] {
  const at = f.insn;
  const insn = at === undefined ? undefined : f.load.insns[at];
  if (at === undefined || insn === undefined) return [];
  const size = [4, 2, 1, 8][op.sizeOf(insn.opcode) >> 3] ?? 8;
  const left = room(f, regno);
  if (left === undefined) return [];
  const isMemory =
    op.classOf(insn.opcode) === op.BPF_LDX ||
    op.classOf(insn.opcode) === op.BPF_STX ||
    op.classOf(insn.opcode) === op.BPF_ST;
  const max = isMemory ? left - insn.off - size : left - 1;
  const added = additionTo(f, regno);
  if (added === undefined) return [];
  const fixes = boundAt(f, added.step.insn, added.reg, max);
  // A scaled index: bound it before it is multiplied.
  const scaled = scaledBy(f, added.step, added.reg);
  return scaled === undefined
    ? fixes
    : [...boundAt(f, scaled.step.insn, added.reg, Math.floor(max / scaled.factor)), ...fixes];
}

/** Where a register with a variable number was added to the pointer that is now in `regno`. */
function additionTo(f: Failure, regno: number): { readonly step: Step; readonly reg: number } | undefined {
  let reg = regno;
  for (let k = f.steps.length - 2; k >= 0; k--) {
    const step = f.steps[k]!;
    const insn = f.load.insns[step.insn];
    if (insn === undefined || step.frame !== f.frame) return undefined;
    if (insn.opcode === (op.BPF_ALU64 | op.BPF_ADD | op.BPF_X) && insn.dst === reg) {
      // Either side may be the pointer.
      const scalar = step.after.get(`${f.frame}:R${insn.src}`) ?? "";
      if (/^P?(scalar|-?\d|0x)/.test(scalar)) return { step, reg: insn.src };
      const before = step.before.get(`${f.frame}:R${insn.dst}`) ?? "scalar";
      return /^P?scalar/.test(before) ? { step, reg: insn.dst } : undefined;
    }
    if (insn.opcode === (op.BPF_ALU64 | op.BPF_MOV | op.BPF_X) && insn.dst === reg) reg = insn.src;
  }
  return undefined;
}

/** The shift or multiplication by a constant that made `reg`, when it directly did. */
function scaledBy(f: Failure, until: Step, reg: number): { readonly step: Step; readonly factor: number } | undefined {
  for (let k = f.steps.indexOf(until) - 1; k >= 0; k--) {
    const step = f.steps[k]!;
    const insn = f.load.insns[step.insn];
    if (insn === undefined || step.frame !== f.frame) return undefined;
    const cls = op.classOf(insn.opcode);
    if ((cls !== op.BPF_ALU64 && cls !== op.BPF_ALU) || insn.dst !== reg) continue;
    if (op.sourceOf(insn.opcode) !== op.BPF_K) return undefined;
    if (op.codeOf(insn.opcode) === op.BPF_LSH) return { step, factor: 2 ** insn.imm };
    return op.codeOf(insn.opcode) === op.BPF_MUL && insn.imm > 0 ? { step, factor: insn.imm } : undefined;
  }
  return undefined;
}

/** The size argument of a helper: bound it by what the pointer before it may reach. */
export function boundSize(f: Failure, regno: number): Fix[] {
  if (f.insn === undefined) return [];
  const max = room(f, regno - 1) ?? 256;
  return [...boundAt(f, f.insn, regno, max), ...boundAt(f, f.insn, regno, max, 1)];
}

/** Any number, bounded by what is reasonable for an offset. */
export function boundScalar(f: Failure): Fix[] {
  const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
  if (f.insn === undefined || insn === undefined || op.sourceOf(insn.opcode) !== op.BPF_X) return [];
  const pointer = f.regs[insn.src]?.type === SCALAR_VALUE ? insn.dst : insn.src;
  const scalar = pointer === insn.dst ? insn.src : insn.dst;
  const size = Math.max(0, (room(f, pointer) ?? 64) - 8);
  return boundAt(f, f.insn, scalar, size);
}

/** The context's field that holds the packet's end. */
function packetEndField(progType: number): { readonly offset: number; readonly size: number } | undefined {
  const name = progTypeName(progType) as ProgTypeName | undefined;
  const struct = name === undefined ? undefined : ctxOf(name)?.struct;
  return struct === undefined ? undefined : ctxLayout(struct)?.fields.find((x) => x.reg === "PTR_TO_PACKET_END");
}

/** Compare the end of the access with the packet's end, which a register has or the context gives. */
export function packetCheck(f: Failure, regno: number, end: number): Fix[] {
  const at = f.insn;
  if (at === undefined) return [];
  const free = freeRegisters(f, at);
  const [end1, end2] = free;
  if (end1 === undefined) return [];
  const text = `compare first: \`if (data + ${end} > data_end) return 0\``;
  const holder = f.regs.findIndex((r) => baseType(r.type) === PTR_TO_PACKET_END);
  const check = (endReg: number, tmp: number): Insn[] => [
    b.mov64Reg(tmp, regno),
    b.alu64Imm("add", tmp, end),
    b.jmpReg("jle", tmp, endReg, 2),
    ...leave,
  ];
  if (holder >= 0) return [{ text, load: add(f, at, check(holder, end1)) }];
  const field = packetEndField(f.load.progType);
  const ctx = f.regs.findIndex((r) => r.type === PTR_TO_CTX && r.off === 0);
  if (field === undefined || ctx < 0 || end2 === undefined) return [];
  return [
    {
      text,
      load: add(f, at, [b.ldxMem(field.size === 8 ? "dw" : "w", end1, ctx, field.offset), ...check(end1, end2)]),
    },
  ];
}

/** Registers whose value nobody reads any more before `at`. */
function freeRegisters(f: Failure, at: number): number[] {
  const live = f.env.aux[at]?.liveRegsBefore ?? 0x3ff;
  return [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].filter((r) => ((live >>> r) & 1) === 0);
}

const RELEASE = { ringbuf: 133, sk: 86 } as const;

/** Give the reference back before the exit: by the pointer that a register or a stack slot still holds. */
export function release(f: Failure, id: number): Fix[] {
  const at = f.insn;
  const frame = f.env.state?.cur;
  if (at === undefined || frame === undefined) return [];
  const inReg = frame.regs.findIndex((r, n) => n < 10 && r.refObjId === id);
  const slot = frame.stack.findIndex((s) => slotByte(s.types, 7) === STACK_SPILL && s.reg.refObjId === id);
  const reg = inReg >= 0 ? frame.regs[inReg] : frame.stack[slot]?.reg;
  if (reg === undefined) return [];
  const base = baseType(reg.type);
  const ringbuf = (reg.type & MEM_RINGBUF) !== 0;
  if (!ringbuf && base !== PTR_TO_SOCKET && base !== PTR_TO_SOCK_COMMON && base !== PTR_TO_TCP_SOCK) return [];
  const keep = [6, 7, 8, 9].find((r) => r !== inReg) ?? 9;
  const call = ringbuf ? [b.mov64Imm(2, 0), b.callHelper(RELEASE.ringbuf)] : [b.callHelper(RELEASE.sk)];
  const get = inReg >= 0 ? b.mov64Reg(1, inReg) : b.ldxMem("dw", 1, 10, -8 * (slot + 1));
  const name = ringbuf ? "bpf_ringbuf_submit or bpf_ringbuf_discard" : "bpf_sk_release";
  const keepR0 = inReg === 0 ? [] : [b.mov64Reg(keep, 0)];
  const restore = inReg === 0 ? [b.mov64Imm(0, 0)] : [b.mov64Reg(0, keep)];
  const skip = call.length;
  const body = [...keepR0, get, b.jmpImm("jeq", 1, 0, skip), ...call, ...restore];
  const text = `call ${name} before this return`;
  // Where other paths come to the same return: at the end of the last line that uses it.
  const uses = `r${inReg >= 0 ? inReg : 10}`;
  const k = f.steps.findLastIndex(
    (s) => s.insn !== at && s.frame === f.frame && new RegExp(`\\b${uses}\\b`).test(s.text),
  );
  const after = f.steps[k];
  const next = f.steps[k + 1];
  return [
    { text, load: add(f, at, body) },
    ...(after === undefined || next === undefined || next.insn !== after.insn + 1
      ? []
      : [
          {
            text: `call ${name} once it is filled, on every path that has it`,
            load: insertBefore(f.load, next.insn, [get, ...call], true),
          },
        ]),
  ];
}

/** Helpers that acquire: what gives back. */
const ACQUIRE: Readonly<Record<number, keyof typeof RELEASE>> = { 84: "sk", 85: "sk", 99: "sk", 131: "ringbuf" };

/** Nothing holds the pointer at the end any more: keep it in a register of its own from the start, and release it at every exit. */
export function releaseAtExits(f: Failure, acquired: number): Fix[] {
  const { insns } = f.load;
  const kind = ACQUIRE[insns[acquired]?.imm ?? 0];
  const keep = [9, 8, 7, 6].find((r) => !insns.some((i) => i.dst === r || i.src === r));
  const end = f.env.subprogs[1]?.start ?? insns.length;
  if (kind === undefined || keep === undefined || acquired >= end) return [];
  const slot = -8 * (Math.ceil((f.env.subprogs[0]?.stackDepth ?? 0) / 8) + 1);
  const call = kind === "ringbuf" ? [b.mov64Imm(2, 0), b.callHelper(RELEASE.ringbuf)] : [b.callHelper(RELEASE.sk)];
  const back = [b.stxMem("dw", 10, 0, slot), b.mov64Reg(1, keep), ...call, b.ldxMem("dw", 0, 10, slot)];
  let load: ProgLoad | null = f.load;
  for (let i = end - 1; i >= 0 && load !== null; i--) {
    if (insns[i]!.opcode === (op.BPF_JMP | op.BPF_EXIT))
      load = insertBefore(load, i, [b.jmpImm("jeq", keep, 0, back.length), ...back]);
    if (i === acquired + 1 && load !== null) load = insertBefore(load, i, [b.mov64Reg(keep, 0)], true);
  }
  const name = kind === "ringbuf" ? "bpf_ringbuf_submit or bpf_ringbuf_discard" : "bpf_sk_release";
  return [
    {
      text: `keep the pointer, and call ${name} with it before every return where it is not null`,
      load: load === null ? null : insertBefore(load, 0, [b.mov64Imm(keep, 0)]),
    },
  ];
}

export function gplLicense(f: Failure): Fix[] {
  return [{ text: `declare the licence "GPL"`, load: { ...f.load, license: "GPL" } }];
}

/** The same call with another helper that takes the same arguments. */
export function otherHelper(f: Failure, id: number, name: string): Fix[] {
  return f.insn === undefined ? [] : [{ text: `call ${name} instead`, load: replaceInsn(f.load, f.insn, { imm: id }) }];
}

/** The loop gives up after the kernel's own limit: may_goto at its head (Linux 6.9). */
export function boundLoop(f: Failure): Fix[] {
  const counts = new Map<number, number>();
  for (let k = 1; k < f.steps.length; k++) {
    const from = f.steps[k - 1]!;
    const to = f.steps[k]!;
    if (to.insn <= from.insn && to.frame === from.frame && from.text !== "exit" && !from.text.startsWith("call"))
      counts.set(to.insn, (counts.get(to.insn) ?? 0) + 1);
  }
  // Without a path: jumps back, by how often their targets were processed.
  f.load.insns.forEach((insn, i) => {
    const cls = op.classOf(insn.opcode);
    const jump =
      (cls === op.BPF_JMP || cls === op.BPF_JMP32) &&
      op.codeOf(insn.opcode) !== op.BPF_CALL &&
      op.codeOf(insn.opcode) !== op.BPF_EXIT;
    const target = i + 1 + (insn.opcode === (op.BPF_JMP32 | op.BPF_JA) ? insn.imm : insn.off);
    if (f.counts !== undefined && jump && target <= i && target >= 0) counts.set(target, f.counts[target] ?? 0);
  });
  const heads = [...counts].sort((x, y) => y[1] - x[1]).map(([head]) => head);
  if (heads.length === 0 && f.insn !== undefined) heads.push(f.insn);
  return heads.slice(0, 2).map((head) => ({
    text: "give the loop a bound that does not depend on data (a counter compared with a constant), or end it by may_goto / bpf_loop",
    load: add(f, head, [b.mayGoto(1), b.ja(2), ...leave]),
  }));
}

export function endWithExit(f: Failure): Fix[] {
  return [{ text: "end it with a return (`r0 = 0; exit`)", load: insertBefore(f.load, f.load.insns.length, leave) }];
}

/** A context field is read as a whole: take the size that it has. */
export function otherAccessSize(f: Failure, size: number): Fix[] {
  const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
  if (f.insn === undefined || insn === undefined) return [];
  const bits = { 1: op.BPF_B, 2: op.BPF_H, 4: op.BPF_W, 8: op.BPF_DW }[size];
  if (bits === undefined || bits === op.sizeOf(insn.opcode)) return [];
  return [
    { text: `read ${size} bytes there`, load: replaceInsn(f.load, f.insn, { opcode: (insn.opcode & ~0x18) | bits }) },
  ];
}

const PROBE_READ_KERNEL = 113;

/** An address that is only a number: read it with bpf_probe_read_kernel into the stack, and take the value from there. */
export function probeRead(f: Failure): Fix[] {
  const at = f.insn;
  const insn = at === undefined ? undefined : f.load.insns[at];
  if (
    at === undefined ||
    insn === undefined ||
    op.classOf(insn.opcode) !== op.BPF_LDX ||
    op.modeOf(insn.opcode) !== op.BPF_MEM
  )
    return [];
  const size = [4, 2, 1, 8][op.sizeOf(insn.opcode) >> 3] ?? 8;
  const live = f.env.aux[at]?.liveRegsBefore ?? 0x3f;
  const kept = [0, 1, 2, 3, 4, 5].filter(
    (r) => ((live >>> r) & 1) === 1 && r !== insn.dst && f.regs[r] !== undefined && f.regs[r].type !== 0,
  );
  const slot = (k: number): number => -512 + 8 * k;
  const body = [
    ...kept.map((r, k) => b.stxMem("dw", 10, r, slot(k + 1))),
    b.mov64Reg(3, insn.src),
    b.alu64Imm("add", 3, insn.off),
    b.mov64Reg(1, 10),
    b.alu64Imm("add", 1, slot(0)),
    b.mov64Imm(2, size),
    b.callHelper(PROBE_READ_KERNEL),
    ...kept.map((r, k) => b.ldxMem("dw", r, 10, slot(k + 1))),
  ];
  const inserted = insertBefore(f.load, at, body);
  const load = inserted === null ? null : replaceInsn(inserted, at + body.length, { src: 10, off: slot(0) });
  return [{ text: `read it with bpf_probe_read_kernel(&value, ${size}, address)`, load }];
}
