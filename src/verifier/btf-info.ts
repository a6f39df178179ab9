/** func_info and line_info of the program (check_btf_info), and the exception callback that its BTF names. */
import type { BtfFunc, BtfType } from "../btf/types.ts";
import type { Btf } from "../btf/btf.ts";
import type { FuncInfo, LineInfo } from "./capture.ts";
import { EINVAL, ENOENT } from "./constants.ts";
import { type Env, reject } from "./env.ts";
import { VerifierReject } from "./errors.ts";

const E2BIG = 7;
const MAX_REC_SIZE = 252;
const BTF_FUNC_GLOBAL = 1;
const LINKAGE = { static: 0, global: 1, extern: 2 } as const;

const linkageOf = (f: BtfFunc): number => LINKAGE[f.linkage as keyof typeof LINKAGE] ?? 0;

/** The records of `bytes`, each `size` bytes, as little-endian words; the kernel's `known` bytes first. */
function words(bytes: Uint8Array, size: number): { view: DataView; count: number } {
  return {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    count: Math.floor(bytes.length / size),
  };
}

function tailIsZero(bytes: Uint8Array, at: number, known: number, size: number): boolean {
  for (let i = at + known; i < at + size; i++) if (bytes[i] !== 0) return false;
  return true;
}

function typeOrNull(btf: Btf, id: number): BtfType | null {
  return id >= 0 && id < btf.typeCount ? btf.typeById(id) : null;
}

/** check_abnormal_return */
function checkAbnormalReturn(env: Env): void {
  for (let i = 1; i < env.subprogs.length; i++) {
    const sub = env.subprogs[i]!;
    if (sub.hasLdAbs) reject(env, EINVAL, "LD_ABS is not allowed in subprogs without BTF\n");
    if (sub.hasTailCall) reject(env, EINVAL, "tail_call is not allowed in subprogs without BTF\n");
  }
}

function checkRecSize(env: Env, size: number, min: number, text: string | null): void {
  if (size >= min && size <= MAX_REC_SIZE && size % 4 === 0) return;
  if (text === null) throw new VerifierReject(EINVAL);
  reject(env, EINVAL, `${text} ${size}\n`);
}

/** check_btf_info_early: the func_info records themselves, before subprograms are known. */
export function checkBtfInfoEarly(env: Env): void {
  const { load } = env;
  if (load.funcInfo.length === 0) return;
  const { btf } = load;
  if (btf === null) throw new VerifierReject(EINVAL);
  const size = load.funcInfoRecSize;
  checkRecSize(env, size, 8, "invalid func info rec size");
  const { view, count } = words(load.funcInfo, size);
  const out: FuncInfo[] = [];
  let prev = 0;
  for (let i = 0; i < count; i++) {
    const at = i * size;
    if (!tailIsZero(load.funcInfo, at, 8, size)) reject(env, E2BIG, "nonzero tailing record in func info");
    const insnOff = view.getUint32(at, true);
    const typeId = view.getUint32(at + 4, true);
    if (i === 0) {
      if (insnOff !== 0) reject(env, EINVAL, `nonzero insn_off ${insnOff} for the first func info record`);
    } else if (insnOff <= prev) {
      reject(env, EINVAL, `same or smaller insn offset (${insnOff}) than previous func info record (${prev})`);
    }
    if (typeOrNull(btf, typeId)?.kind !== "func") reject(env, EINVAL, `invalid type id ${typeId | 0} in func info`);
    prev = insnOff;
    out.push({ insnOff, typeId });
  }
  env.funcInfo = out;
}

/** The type behind typedefs and modifiers. */
function skipModifiers(btf: Btf, id: number): BtfType {
  let t = btf.typeById(id);
  for (let depth = 0; depth < 128; depth++) {
    if (
      t.kind !== "typedef" &&
      t.kind !== "const" &&
      t.kind !== "volatile" &&
      t.kind !== "restrict" &&
      t.kind !== "type_tag"
    )
      break;
    t = btf.typeById(t.type);
  }
  return t;
}

function checkFuncs(env: Env): void {
  const { btf } = env.load;
  if (env.funcInfo.length === 0 || btf === null) {
    checkAbnormalReturn(env);
    return;
  }
  if (env.funcInfo.length !== env.subprogs.length) {
    reject(env, EINVAL, "number of funcs in func_info doesn't match number of subprogs\n");
  }
  env.funcInfo.forEach((info, i) => {
    const sub = env.subprogs[i]!;
    if (sub.start !== info.insnOff)
      reject(env, EINVAL, "func_info BTF section doesn't match subprog layout in BPF program\n");
    const func = btf.typeById(info.typeId) as BtfFunc;
    sub.linkage = linkageOf(func);
    sub.btfFuncId = info.typeId;
    sub.name = func.name;
    const proto = btf.typeById(func.type);
    if (proto.kind !== "func_proto") throw new VerifierReject(EINVAL);
    const ret = skipModifiers(btf, proto.type);
    const scalar = (ret.kind === "int" && ret.size <= 8) || ret.kind === "enum" || ret.kind === "enum64";
    if (i === 0 || scalar) return;
    if (sub.hasLdAbs) reject(env, EINVAL, "LD_ABS is only allowed in functions that return 'int'.\n");
    if (sub.hasTailCall) reject(env, EINVAL, "tail_call is only allowed in functions that return 'int'.\n");
  });
}

function checkLines(env: Env): void {
  const { load } = env;
  const { btf } = load;
  if (load.lineInfo.length === 0) return;
  if (btf === null) throw new VerifierReject(EINVAL);
  const size = load.lineInfoRecSize;
  checkRecSize(env, size, 16, null);
  const { view, count } = words(load.lineInfo, size);
  const out: LineInfo[] = [];
  let prev = 0;
  let s = 0;
  for (let i = 0; i < count; i++) {
    const at = i * size;
    if (!tailIsZero(load.lineInfo, at, 16, size)) reject(env, E2BIG, "nonzero tailing record in line_info");
    const info = {
      insnOff: view.getUint32(at, true),
      fileNameOff: view.getUint32(at + 4, true),
      lineOff: view.getUint32(at + 8, true),
      lineCol: view.getUint32(at + 12, true),
    };
    if ((i !== 0 && info.insnOff <= prev) || info.insnOff >= env.len) {
      reject(
        env,
        EINVAL,
        `Invalid line_info[${i}].insn_off:${info.insnOff} (prev_offset:${prev} prog->len:${env.len})\n`,
      );
    }
    if (env.code[info.insnOff] === 0) reject(env, EINVAL, `Invalid insn code at line_info[${i}].insn_off\n`);
    if (btf.stringOrUndefined(info.lineOff) === undefined || btf.stringOrUndefined(info.fileNameOff) === undefined) {
      reject(env, EINVAL, `Invalid line_info[${i}].line_off or .file_name_off\n`);
    }
    if (s !== env.subprogs.length) {
      const sub = env.subprogs[s]!;
      if (info.insnOff === sub.start) {
        sub.lineInfoIdx = i;
        s++;
      } else if (sub.start < info.insnOff) reject(env, EINVAL, `missing bpf_line_info for func#${s}\n`);
    }
    prev = info.insnOff;
    out.push(info);
  }
  if (s !== env.subprogs.length) {
    reject(env, EINVAL, `missing bpf_line_info for ${env.subprogs.length - s} funcs starting from func#${s}\n`);
  }
  env.lineInfo = out;
}

/** check_btf_info: func_info against the subprograms, then line_info. */
export function checkBtfInfo(env: Env): void {
  if (env.load.funcInfo.length === 0 && env.load.lineInfo.length === 0) {
    checkAbnormalReturn(env);
    return;
  }
  checkFuncs(env);
  checkLines(env);
}

/** bpf_find_exception_callback_insn_off: first insn of the exception callback; 0 when the program names none. */
export function findExceptionCallback(env: Env): number {
  const { btf } = env.load;
  const main = env.funcInfo[0];
  if (btf === null || main === undefined) return 0;
  const prefix = "exception_callback:";
  const tags: string[] = [];
  for (let id = 1; id < btf.typeCount; id++) {
    const t = btf.typeById(id);
    if (t.kind === "decl_tag" && t.type === main.typeId && t.componentIdx === -1 && t.name.startsWith(prefix))
      tags.push(t.name.slice(prefix.length));
  }
  if (tags.length === 0) return 0;
  if (tags.length > 1) reject(env, 17, "multiple exception callback tags for main subprog\n");
  const name = tags[0]!;
  const func = btf.findByName(name, "func");
  if (func === undefined || func.kind !== "func")
    return reject(env, ENOENT, `exception callback '${name}' could not be found in BTF\n`);
  if (linkageOf(func) !== BTF_FUNC_GLOBAL)
    reject(env, EINVAL, `exception callback '${name}' must have global linkage\n`);
  let off = -1;
  for (const info of env.funcInfo) {
    if (info.typeId !== func.id) continue;
    off = info.insnOff;
    if (off === 0) reject(env, EINVAL, "invalid exception callback insn_off in func_info: 0\n");
  }
  if (off < 0) reject(env, EINVAL, "exception callback type id not found in func_info\n");
  return off;
}
