/** Registers of a traced task: contexts of kprobes, uprobes and perf events. */
import { closest } from "../../../core/edit-distance.ts";
import { PT_REGS, type PtRegsArch, type PtRegsRow } from "../../../uapi/pt-regs.ts";
import type { FieldValue, Fields, Space } from "../types.ts";
import { fieldError, getBits, integer, isKernelObject, putBits, shown } from "../values.ts";
import { type Prototype, argWords } from "./args.ts";
import type { ContextEnv } from "./env.ts";

/**
 * pt_regs of these values: registers by name; `args` by position; arguments by the names of a traced function's prototype;
 * `ret`, `ip`, `sp`.
 *
 * @throws ArgumentError for what is none of these
 */
export function makeRegs(env: ContextEnv, value: Fields, proto: Prototype | undefined, space: Space): Uint8Array {
  const row: PtRegsRow = PT_REGS[env.arch ?? "x64"];
  const bytes = new Uint8Array(row.size);
  const put = (reg: string, word: bigint): void => putBits(bytes, row.regs[reg]! * 8, 64, word);
  const arg = (i: number, word: bigint, path: string): void => {
    const reg = row.args[i];
    if (reg === undefined)
      throw fieldError(path, `arguments after the first ${row.args.length} are on the stack: they have no register`);
    put(reg, word);
  };
  const roles: Readonly<Record<string, string>> = { ret: row.ret, ip: row.ip, sp: row.sp };
  const params = proto?.params ?? [];
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue;
    if (name === "args") {
      if (!Array.isArray(field)) throw fieldError(name, `expected a list, got ${shown(field)}`);
      field.forEach((v: FieldValue, i) => {
        const path = `args[${i}]`;
        const type = params[i]?.type;
        arg(i, type === undefined ? plain(env, v, path, space) : argWords(env, type, v, path, space)[0]!, path);
      });
      continue;
    }
    const param = params.findIndex((p) => p.name === name);
    if (param >= 0) arg(param, argWords(env, params[param]!.type, field, name, space)[0]!, name);
    else if (name === "ret" && proto !== undefined && proto.ret !== 0)
      put(row.ret, argWords(env, proto.ret, field, name, space)[0]!);
    else if (roles[name] !== undefined) put(roles[name], plain(env, field, name, space));
    else if (row.regs[name] !== undefined) put(name, plain(env, field, name, space));
    else {
      const names = [...params.map((p) => p.name), "args", "ret", "ip", "sp", ...Object.keys(row.regs)];
      const near = closest(name, names);
      throw fieldError(
        name,
        `expected a register, args, ret${params.length === 0 ? "" : `, or an argument of ${proto!.what} (${params.map((p) => p.name).join(", ")})`}${near === undefined ? "" : `; did you mean ${near}?`}`,
      );
    }
  }
  return bytes;
}

/** A value whose type nobody knows: numbers as they are, text and bytes in memory. */
function plain(env: ContextEnv, value: FieldValue, path: string, space: Space): bigint {
  if (value === null) return 0n;
  if (typeof value === "string") return env.objects.text(value, space);
  if (value instanceof Uint8Array) return env.objects.bytes(value, space);
  if (isKernelObject(value)) return value.address;
  return integer(value, 64, path);
}

/** Registers by name. */
export function readRegs(arch: PtRegsArch, from: Uint8Array): Record<string, bigint> {
  const row: PtRegsRow = PT_REGS[arch];
  return Object.fromEntries(Object.entries(row.regs).map(([name, offset]) => [name, getBits(from, offset * 8, 64)]));
}
