/** Registers, stack and whole states in the words of the kernel's log (kernel/bpf/log.c). */
import type { Btf } from "../btf/btf.ts";
import {
  BPF_ADD_CONST,
  BPF_DYNPTR_NR_SLOTS,
  BPF_ITER_STATE_ACTIVE,
  BPF_ITER_STATE_DRAINED,
  CONST_PTR_TO_DYNPTR,
  CONST_PTR_TO_MAP,
  MAX_BPF_REG,
  MEM_ALLOC,
  MEM_PERCPU,
  MEM_RCU,
  MEM_RDONLY,
  MEM_RINGBUF,
  MEM_USER,
  NON_OWN_REF,
  NOT_INIT,
  PTR_MAYBE_NULL,
  PTR_TO_ARENA,
  PTR_TO_BTF_ID,
  PTR_TO_MAP_KEY,
  PTR_TO_MAP_VALUE,
  PTR_TO_MEM,
  PTR_TO_PACKET,
  PTR_TO_PACKET_META,
  PTR_TO_STACK,
  PTR_TRUSTED,
  PTR_UNTRUSTED,
  SCALAR_VALUE,
  STACK_DYNPTR,
  STACK_ITER,
  STACK_SPILL,
  baseType,
} from "./constants.ts";
import type { Env } from "./env.ts";
import { regMarksText, slotMarksText } from "./live-marks.ts";
import { snum, tnumText, unum } from "./log-num.ts";
import type { RegState } from "./reg-state.ts";
import { has } from "./scalar/rules.ts";
import { type FuncState, type VerifierState, slotByte } from "./state.ts";

const TYPE_NAMES: readonly string[] = [
  "?",
  "scalar",
  "ctx",
  "map_ptr",
  "map_value",
  "map_key",
  "fp",
  "pkt_meta",
  "pkt",
  "pkt_end",
  "flow_keys",
  "sock",
  "sock_common",
  "tcp_sock",
  "tp_buffer",
  "xdp_sock",
  "ptr_",
  "mem",
  "arena",
  "buf",
  "func",
  "dynptr_ptr",
];

/** reg_type_str */
export function regTypeStr(type: number): string {
  const base = baseType(type);
  let prefix = "";
  if (type & MEM_RDONLY) prefix += "rdonly_";
  if (type & MEM_RINGBUF) prefix += has.trustedPointers ? "ringbuf_" : "alloc_";
  if (type & MEM_USER) prefix += "user_";
  if (type & MEM_PERCPU) prefix += "percpu_";
  if (type & MEM_RCU) prefix += "rcu_";
  if (type & PTR_UNTRUSTED) prefix += "untrusted_";
  if (type & PTR_TRUSTED) prefix += "trusted_";
  const postfix = type & PTR_MAYBE_NULL ? (base === PTR_TO_BTF_ID ? "or_null_" : "_or_null") : "";
  const name = base === SCALAR_VALUE && !has.scalarTypeName ? "inv" : (TYPE_NAMES[base] ?? "?");
  return prefix + name + postfix;
}

/** dynptr_type_str */
export function dynptrTypeStr(type: number): string {
  return ["<invalid>", "local", "ringbuf", "skb", "xdp", "skb_meta"][type] ?? "<unknown>";
}

/** iter_type_str: "num" for struct bpf_iter_num */
export function iterTypeStr(btf: Btf | null, id: number): string {
  return btf === null || id === 0 ? "<invalid>" : btf.nameOf(id).slice("bpf_iter_".length);
}

export function iterStateStr(state: number): string {
  return state === BPF_ITER_STATE_ACTIVE ? "active" : state === BPF_ITER_STATE_DRAINED ? "drained" : "<invalid>";
}

const isSdec = (lo: number): boolean => lo >= -0x8000 && lo <= 0x7fff;

/** print_scalar_ranges: parts such as "smin=umin=5". */
function ranges(r: RegState, parts: string[]): void {
  const names = ["smin", "smax", "umin", "umax", "smin32", "smax32", "umin32", "umax32"];
  const lo = [r.sminLo, r.smaxLo, r.uminLo, r.umaxLo, r.s32Min, r.s32Max, r.u32Min, r.u32Max];
  // 32-bit signed numbers that print in hex are not sign-extended.
  const hi = [
    r.sminHi,
    r.smaxHi,
    r.uminHi,
    r.umaxHi,
    isSdec(r.s32Min) ? r.s32Min >> 31 : 0,
    isSdec(r.s32Max) ? r.s32Max >> 31 : 0,
    0,
    0,
  ];
  const omit = [
    r.sminLo === 0 && r.sminHi === -0x8000_0000,
    r.smaxLo === -1 && r.smaxHi === 0x7fff_ffff,
    (r.uminLo | r.uminHi) === 0,
    (r.umaxLo & r.umaxHi) === -1,
    r.s32Min === -0x8000_0000,
    r.s32Max === 0x7fff_ffff,
    r.u32Min === 0,
    r.u32Max === -1,
  ];
  for (let i = 0; i < 8; i++) {
    if (omit[i]) continue;
    const signed = names[i]!.startsWith("s");
    const neg = signed && hi[i]! < 0;
    let text = `${names[i]!}=`;
    for (let j = i + 2; j < 8; j += 2) {
      if (omit[j] || lo[i] !== lo[j] || hi[i] !== hi[j]) continue;
      if ((names[j]!.startsWith("s") && hi[j]! < 0) !== neg) continue;
      omit[j] = true;
      text += `${names[j]!}=`;
    }
    parts.push(text + (signed ? snum(lo[i]!, hi[i]!) : unum(lo[i]!, hi[i]!)));
  }
}

/** print_reg_state */
export function regText(frame: FuncState, r: RegState): string {
  const t = r.type;
  const base = baseType(t);
  let out = t === SCALAR_VALUE && r.precise ? "P" : "";
  const isConst = (r.maskLo | r.maskHi) === 0;
  if (t === SCALAR_VALUE && isConst) return out + snum(r.valLo, r.valHi);
  out += regTypeStr(t);
  if (t === PTR_TO_ARENA) return out;
  if (t === PTR_TO_STACK) {
    if (frame.frameno !== r.frameno) out += `[${r.frameno}]`;
    if (isConst) {
      const off = r.valLo + r.off;
      return out + snum(off | 0, (off | 0) >> 31);
    }
  }
  if (base === PTR_TO_BTF_ID) out += r.btf === null ? "" : r.btf.nameOf(r.btfId);
  const parts: string[] = [];
  if (r.id !== 0)
    parts.push(`id=${r.id & ~BPF_ADD_CONST}${r.id & BPF_ADD_CONST ? (r.off < 0 ? r.off : `+${r.off}`) : ""}`);
  if (r.refObjId !== 0) parts.push(`ref_obj_id=${r.refObjId}`);
  if ((t & (MEM_ALLOC | NON_OWN_REF)) === (MEM_ALLOC | NON_OWN_REF)) parts.push("non_own_ref");
  if ((base === CONST_PTR_TO_MAP || base === PTR_TO_MAP_KEY || base === PTR_TO_MAP_VALUE) && r.map !== null) {
    if (r.map.name !== "") parts.push(`map=${r.map.name}`);
    parts.push(`ks=${r.map.keySize},vs=${r.map.valueSize}`);
  }
  if (t !== SCALAR_VALUE && r.off !== 0) parts.push(`off=${snum(r.off, r.off >> 31)}`);
  if (base === PTR_TO_PACKET || base === PTR_TO_PACKET_META) parts.push(`r=${unum(r.range, r.range >> 31)}`);
  if (base === PTR_TO_MEM) parts.push(`sz=${unum(r.memSize, 0)}`);
  if (t === CONST_PTR_TO_DYNPTR) parts.push(`type=${dynptrTypeStr(r.dynptrType)}`);
  if (isConst) {
    if ((r.valLo | r.valHi) !== 0) parts.push(`imm=${snum(r.valLo, r.valHi)}`);
  } else {
    ranges(r, parts);
    if ((r.maskLo & r.maskHi) !== -1) parts.push(`var_off=${tnumText(r.valLo, r.valHi, r.maskLo, r.maskHi)}`);
  }
  return `${out}(${parts.join(",")})`;
}

const SLOT_CHARS = "?rm0dif";

/** print_verifier_state, with its final newline; `all`: also what has not changed. */
export function stateText(env: Env, st: VerifierState, frameno: number, all: boolean): string {
  const frame = st.frames[frameno]!;
  let out = frame.frameno !== 0 ? ` frame${frame.frameno}:` : "";
  for (let i = 0; i < MAX_BPF_REG; i++) {
    const r = frame.regs[i]!;
    if (r.type === NOT_INIT) continue;
    if (!all && ((env.scratchedRegs >>> i) & 1) === 0) continue;
    out += ` R${i}${regMarksText(frame, i)}=${regText(frame, r)}`;
  }
  for (let i = 0; i < frame.stack.length; i++) {
    if (!all && ((i < 32 ? env.scratchedLo >>> i : env.scratchedHi >>> (i - 32)) & 1) === 0) continue;
    let slot = frame.stack[i]!;
    if (slot.types === 0) continue;
    const top = slotByte(slot.types, 7);
    let chars = "";
    for (let j = 0; j < 8; j++) chars += SLOT_CHARS[slotByte(slot.types, j)] ?? "?";
    if (top === STACK_SPILL) {
      const first = chars.indexOf("r");
      out += ` fp${-(i + 1) * 8}${slotMarksText(frame, i)}=${chars.slice(0, first)}${regText(frame, slot.reg)}`;
    } else if (top === STACK_DYNPTR) {
      i += BPF_DYNPTR_NR_SLOTS - 1;
      slot = frame.stack[i] ?? slot;
      const r = slot.reg;
      const parts: string[] = [];
      if (r.id !== 0) parts.push(`id=${r.id}`);
      if (r.refObjId !== 0) parts.push(`ref_id=${r.refObjId}`);
      if (r.dynptrId !== 0) parts.push(`dynptr_id=${r.dynptrId}`);
      out += ` fp${-(i + 1) * 8}${slotMarksText(frame, i)}=dynptr_${dynptrTypeStr(r.dynptrType)}(${parts.join(",")})`;
    } else if (top === STACK_ITER) {
      const r = slot.reg;
      if (r.refObjId === 0) continue;
      out += ` fp${-(i + 1) * 8}${slotMarksText(frame, i)}=iter_${iterTypeStr(r.btf, r.btfId)}(ref_id=${r.refObjId},state=${iterStateStr(r.iterState)},depth=${r.iterDepth})`;
    } else out += ` fp${-(i + 1) * 8}${slotMarksText(frame, i)}=${chars}`;
  }
  if (st.refs.length > 0 && st.refs[0]!.id !== 0) {
    const ids = st.refs.map((r) => r.id).filter((id, k) => k === 0 || id !== 0);
    out += ` refs=${ids.join(",")}`;
  }
  if (frame.inCallbackFn) out += " cb";
  if (frame.inAsyncCallbackFn) out += " async_cb";
  if (!all) env.scratchNone();
  return `${out}\n`;
}

/** print_insn_state: the state after an insn, on its line if nothing was printed in between. */
export function printInsnState(env: Env, st: VerifierState, frameno: number): void {
  const log = env.log;
  if (env.prevLogPos !== 0 && env.prevLogPos === log.pos) {
    log.reset(env.prevLogPos - 1);
    const pos = env.prevInsnPrintPos;
    const width = Math.ceil(Math.max(pos + 4, 40) / 8) * 8 - pos - 1;
    log.write(`${" ".repeat(width)};`);
  } else log.write(`${env.insnIdx}:`);
  log.write(stateText(env, st, frameno, false));
}

/** verbose_linfo: the source line of insn `idx`, unless it was the last one printed. */
export function printLineInfo(env: Env, idx: number, prefix: string): void {
  const infos = env.lineInfo;
  if (!env.log.any || infos.length === 0 || idx >= env.len) return;
  let l = 0;
  let r = infos.length - 1;
  while (l < r) {
    const m = l + ((r - l + 1) >> 1);
    if (infos[m]!.insnOff <= idx) l = m;
    else r = m - 1;
  }
  const info = infos[l]!;
  const prev = env.prevLinfo;
  if (info === prev) return;
  if (prev !== null && info.fileNameOff === prev.fileNameOff && info.lineCol >>> 10 === prev.lineCol >>> 10) return;
  const btf = env.btf;
  if (btf === null) return;
  const line = btf.stringAt(info.lineOff).replace(/^[ \t\n\v\f\r]+/, "");
  const path = btf.stringAt(info.fileNameOff);
  const where = env.has.sourceFileInLog ? ` @ ${path.slice(path.lastIndexOf("/") + 1)}:${info.lineCol >>> 10}` : "";
  env.log.write(`${prefix}${line}${where}\n`);
  env.prevLinfo = info;
}
