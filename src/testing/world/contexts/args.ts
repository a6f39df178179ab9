/** Arguments of traced functions, tracepoints, hooks and iterators: u64 each, by BTF prototypes. */
import type { Btf } from "../../../btf/btf.ts";
import { BTF_KIND } from "../../../btf/kinds.ts";
import { resolve, sizeOf } from "../../../btf/layout.ts";
import type { BtfFuncProto, BtfParam } from "../../../btf/types.ts";
import { closest } from "../../../core/edit-distance.ts";
import type { FieldValue, Fields, Space } from "../types.ts";
import { fieldError, integer, isKernelObject, readValue, shown } from "../values.ts";
import type { ContextEnv } from "./env.ts";

/** A prototype by name: what a context's fields are. */
export interface Prototype {
  /** For messages: "function vfs_read". */
  readonly what: string;
  readonly params: readonly BtfParam[];
  /** Type id of the result; 0 for none. */
  readonly ret: number;
}

/** The prototype of function `name` (without its first `skip` parameters), or undefined. */
export function functionPrototype(btf: Btf, name: string, skip = 0): Prototype | undefined {
  const func = btf.findByName(name, "func");
  const proto = func === undefined ? undefined : btf.typeById(func.type);
  return proto?.kind === "func_proto" ? prototype(`function ${name}`, proto, skip) : undefined;
}

function prototype(what: string, proto: BtfFuncProto, skip: number): Prototype {
  const params = proto.params
    .slice(skip)
    .filter((p) => p.type !== 0)
    .map((p, i) => (p.name === "" ? { ...p, name: `arg${i}` } : p));
  return { what, params, ret: proto.type };
}

/** Arguments of tracepoint `name`, named as `__traceiter_*` names them. */
export function tracepointPrototype(btf: Btf, name: string): Prototype | undefined {
  const what = `tracepoint ${name}`;
  const iter = functionPrototype(btf, `__traceiter_${name}`, 1);
  if (iter !== undefined) return { ...iter, what, ret: 0 };
  const typedef = btf.findByName(`btf_trace_${name}`, "typedef");
  const pointer = typedef === undefined ? undefined : resolve(btf, typedef.id);
  const proto = pointer?.kind === "ptr" ? resolve(btf, pointer.type) : undefined;
  return proto?.kind === "func_proto" ? { ...prototype(what, proto, 1), ret: 0 } : undefined;
}

/** The function pointer `member` of a struct_ops struct, or of the only one that has such a member. */
export function structOpsPrototype(btf: Btf, target: string): Prototype | undefined {
  const [struct, member = ""] = target.includes("/") ? target.split("/") : [undefined, target];
  for (const id of structOps(btf, struct)) {
    const type = btf.typeById(id);
    const found = type.kind === "struct" ? type.members.find((m) => m.name === member) : undefined;
    const pointer = found === undefined ? undefined : resolve(btf, found.type);
    const proto = pointer?.kind === "ptr" ? resolve(btf, pointer.type) : undefined;
    if (proto?.kind === "func_proto") return prototype(`${btf.nameOf(id)}.${member}`, proto, 0);
  }
  return undefined;
}

/** Structs that programs may implement: each has a `struct bpf_struct_ops_NAME` around it. */
function* structOps(btf: Btf, name: string | undefined): Generator<number> {
  if (name !== undefined) {
    const id = btf.findId(name, "struct");
    if (id !== 0) yield id;
    return;
  }
  for (let id = 1; id < btf.typeCount; id++) {
    if (btf.kindOf(id) !== BTF_KIND.STRUCT) continue;
    const outer = /^bpf_struct_ops_(\w+)$/.exec(btf.nameOf(id))?.[1];
    const inner = outer === undefined ? 0 : btf.findId(outer, "struct");
    if (inner !== 0) yield inner;
  }
}

/**
 * One argument as the registers that hold it: integers zero-extended, text and objects allocated in `space`.
 * @throws ArgumentError
 */
export function argWords(env: ContextEnv, typeId: number, value: FieldValue, path: string, space: Space): bigint[] {
  const { btf } = env.kernel;
  const type = resolve(btf, typeId);
  switch (type.kind) {
    case "ptr":
      return [pointer(env, type.type, value, path, space)];
    case "struct":
    case "union": {
      // By value: in as many registers as it takes.
      if (value === null || typeof value !== "object" || isKernelObject(value))
        throw fieldError(path, `expected the fields of ${btf.describe(type.id)}, got ${shown(value)}`);
      const object = env.objects.struct(`${type.kind} ${type.name}`, value as Fields);
      const words = Math.max(1, Math.ceil(sizeOf(btf, typeId) / 8));
      const bytes = new Uint8Array(words * 8);
      bytes.set(env.objects.memory.read(object.address, sizeOf(btf, typeId)) ?? bytes.subarray(0, 0));
      env.objects.memory.free(object.address);
      const view = new DataView(bytes.buffer);
      return Array.from({ length: words }, (_, i) => view.getBigUint64(i * 8, true));
    }
    case "enum":
    case "enum64":
      if (typeof value === "string") {
        const found = type.values.find((v) => v.name === value);
        if (found === undefined)
          throw fieldError(path, `expected an enumerator of ${btf.describe(type.id)}, got ${shown(value)}`);
        return [BigInt.asUintN(64, BigInt(found.value))];
      }
      return [integer(value, type.size * 8, path)];
    case "int":
      return [integer(value, Math.min(64, type.size * 8), path)];
    default:
      return [integer(value, 64, path)];
  }
}

function pointer(env: ContextEnv, target: number, value: FieldValue, path: string, space: Space): bigint {
  const { objects } = env;
  if (value === null) return 0n;
  if (isKernelObject(value)) return value.address;
  if (typeof value === "number" || typeof value === "bigint") return integer(value, 64, path);
  if (typeof value === "string") return objects.text(value, space);
  if (value instanceof Uint8Array) return objects.bytes(value, space);
  if (typeof value === "boolean") throw fieldError(path, `expected a pointer, got ${value}`);
  if (Array.isArray(value) && value.every((v) => typeof v === "string"))
    return objects.texts(value as readonly string[], space);
  return objects.pointee(target, value as Fields, path, space);
}

/** The named (or positional: `args`) arguments of a prototype as words; missing ones are 0. `ret` comes behind them when asked for. */
export function argArray(
  env: ContextEnv,
  proto: Prototype,
  value: Fields,
  options: { ret: boolean; space?: Space },
): bigint[] {
  const { args, ...named } = value;
  const names = proto.params.map((p) => p.name);
  for (const name of Object.keys(named)) {
    if (names.includes(name) || (options.ret && name === "ret")) continue;
    const near = closest(name, names);
    throw fieldError(
      name,
      `the ${proto.what} has no argument ${name}: it has ${names.join(", ") || "none"}${near === undefined ? "" : `; did you mean ${near}?`}`,
    );
  }
  const positional = args === undefined ? [] : args;
  if (!Array.isArray(positional)) throw fieldError("args", `expected a list, got ${shown(args)}`);
  if (positional.length > names.length)
    throw fieldError("args", `the ${proto.what} has ${names.length} arguments, got ${positional.length}`);
  const space = options.space ?? "kernel";
  const words = proto.params.flatMap((p, i) => {
    const given = named[p.name] ?? (positional[i] as FieldValue | undefined);
    const path = named[p.name] === undefined && positional[i] !== undefined ? `args[${i}]` : p.name;
    if (given !== undefined) return argWords(env, p.type, given, path, space);
    const type = resolve(env.kernel.btf, p.type);
    const size = type.kind === "struct" || type.kind === "union" ? sizeOf(env.kernel.btf, p.type) : 8;
    return Array.from({ length: Math.max(1, Math.ceil(size / 8)) }, () => 0n);
  });
  if (options.ret)
    words.push(
      ...(named["ret"] === undefined || proto.ret === 0 ? [0n] : argWords(env, proto.ret, named["ret"], "ret", space)),
    );
  return words;
}

/** The words of a context as values by argument. */
export function readArgs(btf: Btf, proto: Prototype, ctx: Uint8Array, ret: boolean): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  let at = 0;
  for (const p of [...proto.params, ...(ret && proto.ret !== 0 ? [{ name: "ret", type: proto.ret }] : [])]) {
    const size = sizeOf(btf, p.type);
    if (at + size > ctx.length) break;
    out[p.name] = readValue(btf, p.type, ctx, at);
    at += Math.max(8, Math.ceil(size / 8) * 8);
  }
  return out;
}

/** u64 words as bytes. */
export function wordBytes(words: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(words.length * 8);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => view.setBigUint64(i * 8, word, true));
  return bytes;
}
