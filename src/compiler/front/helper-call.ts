/** Helpers by their kernel names: `bpf.ktimeGetNs()`, arguments checked by the kernel's prototypes. */
import type { AttachTypeName, HelperArg, HelperName, HelperRow, ProgTypeName } from "../../uapi/index.ts";
import { BPF_FUNC, helperById, helperProto } from "../../uapi/index.ts";
import type { ArgMem, Inst } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import { describe, nameOf } from "./context.ts";
import { isContext, uapiPointer } from "./contexts.ts";
import { lintDropped, lintSpace } from "./lint.ts";
import { isMap } from "./module.ts";
import { tempOf } from "./memory.ts";
import { addressOf } from "./place.ts";
import { isText, textPlace } from "./strings.ts";
import type { MapHandle } from "../../probe/map-types.ts";
import { S64, U64, fromSchema, intType, sizeOf } from "./types.ts";
import type { PlaceVal, Val } from "./value.ts";
import { ERROR, NOTHING } from "./value.ts";

/** The helper that `bpf.name` calls. (A table of all 211 would take 0.4 ms, cold.) */
export function helperFor(name: string): HelperRow | undefined {
  const own = name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  return !name.includes("_") && Object.hasOwn(BPF_FUNC, own) ? helperById(BPF_FUNC[own as HelperName]) : undefined;
}
/** Names of all helpers as members of `bpf`. */
export function helperNames(): readonly string[] {
  return Object.keys(BPF_FUNC).map((name) => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase()));
}

/** What pointers of these kinds point to, as programs see it. */
const UAPI_STRUCTS: Readonly<Record<string, string>> = {
  RET_PTR_TO_SOCKET: "bpf_sock",
  RET_PTR_TO_SOCK_COMMON: "bpf_sock",
  RET_PTR_TO_TCP_SOCK: "bpf_tcp_sock",
};

interface Lowered {
  readonly v: Inst | number;
  readonly mem?: ArgMem;
}

export function callHelper(
  fn: Fn,
  row: HelperRow,
  args: readonly Ast[],
  node: Ast,
  progType: ProgTypeName,
  attachType: AttachTypeName | undefined,
): Val {
  const proto = helperProto(row, progType, attachType);
  const params = proto.args.filter((a) => a.type !== "ARG_DONTCARE");
  if (args.length !== params.length) {
    const expected = `${params.length} argument${params.length === 1 ? "" : "s"} (${params.map((p) => p.name).join(", ")})`;
    return fn.report("BPF1010", node, { name: `bpf_${row.name}`, expected, got: String(args.length) });
  }
  const lowered: (Inst | number)[] = [];
  const mem: ArgMem[] = [];
  let map: MapHandle | undefined;
  for (const [i, param] of params.entries()) {
    const arg = args[i]!;
    const size = params[i + 1]?.type.startsWith("ARG_CONST_SIZE") === true ? args[i + 1] : undefined;
    const l = argument(fn, row, param, arg, size, map, i);
    if (l === undefined) return ERROR;
    if (param.type === "ARG_CONST_MAP_PTR") {
      const v = fn.expr(arg);
      if (v.k === "handle" && isMap(v.value)) map = v.value;
    }
    lowered.push(l.v);
    if (l.mem !== undefined) mem.push(l.mem);
  }
  lintDropped(fn, row, node);
  const type = proto.ret.type;
  const clobbers = row.changesPacket === true ? "all" : "mem";
  const nullable = proto.ret.flags?.includes("PTR_MAYBE_NULL") === true;
  if (type === "RET_VOID") {
    fn.b.helper(row.id, lowered, { clobbers, mem, type: "void" });
    return NOTHING;
  }
  if (type === "RET_INTEGER") {
    const unsigned = /^u(\d+)$/.exec(proto.ret.c);
    const bits = (unsigned === null ? 64 : Number(unsigned[1])) as 8 | 16 | 32 | 64;
    const v = fn.b.helper(row.id, lowered, { clobbers, mem });
    return {
      k: "scalar",
      type: unsigned === null ? S64 : bits === 64 ? U64 : intType(bits, false),
      v: bits === 64 ? v : fn.b.zext(v, bits),
    };
  }
  const space = type === "RET_PTR_TO_MAP_VALUE" ? "map-value" : type === "RET_PTR_TO_MEM" ? "mem" : "btf";
  const ptr = fn.b.helper(row.id, lowered, { clobbers, mem, space, nullable });
  if (type === "RET_PTR_TO_MAP_VALUE" && map?.value !== undefined) {
    const valueType = fromSchema(map.value);

    const inner: PlaceVal = { k: "place", type: valueType, base: ptr, off: 0, space: "map" };
    return nullable ? { k: "opt", ptr, inner, what: `what bpf_${row.name} gives` } : inner;
  }
  const uapi = UAPI_STRUCTS[type];
  if (uapi !== undefined)
    return uapiPointer(fn, uapi, ptr, {
      nullable: nullable ? `what bpf_${row.name} gives` : undefined,
      common: type === "RET_PTR_TO_SOCK_COMMON",
    });
  const struct = proto.ret.btf === undefined ? undefined : fn.module.kernel?.findStruct(proto.ret.btf);
  return {
    k: "scalar",
    type: {
      k: "ptr",
      to: struct,
      space: "kernel",
      trust: type === "RET_PTR_TO_BTF_ID" ? "trusted" : "probe",
      ...(nullable ? { nullable: `what bpf_${row.name} gives` } : {}),
    },
    v: ptr,
  };
}

function argument(
  fn: Fn,
  row: HelperRow,
  param: HelperArg,
  node: Ast,
  sizeNode: Ast | undefined,
  map: MapHandle | undefined,
  index: number,
): Lowered | undefined {
  const wrong = (expected: string, v: Val): undefined => {
    if (v.k !== "error")
      fn.report("BPF3007", node, { arg: param.name, name: `bpf_${row.name}`, expected, found: describe(v) });
    return undefined;
  };
  switch (param.type) {
    case "ARG_CONST_MAP_PTR": {
      const v = fn.expr(node);
      return v.k === "handle" && isMap(v.value)
        ? { v: fn.b.map(fn.module.mapName(v.value, v.name)) }
        : wrong("a map", v);
    }
    case "ARG_PTR_TO_CTX": {
      const v = fn.expr(node);
      return isContext(fn, v) ? { v: fn.ctx } : wrong("the program's ctx", v);
    }
    case "ARG_PTR_TO_MAP_KEY":
    case "ARG_PTR_TO_MAP_VALUE": {
      const schema = param.type === "ARG_PTR_TO_MAP_KEY" ? map?.key : map?.value;
      if (schema === undefined) return wrong("a map before it", { k: "void" });
      const out = param.flags?.includes("MEM_UNINIT") === true || param.flags?.includes("MEM_WRITE") === true;
      const place = out ? placeOf(fn, fn.expr(node), node) : tempOf(fn, schema, node, param.name);
      if (place === undefined) return undefined;
      return { v: addressOf(fn, place), mem: { arg: index, mode: out ? "inout" : "in", size: schema.size } };
    }
    case "ARG_PTR_TO_MEM":
    case "ARG_PTR_TO_RINGBUF_MEM":
    case "ARG_PTR_TO_CONST_STR": {
      const write = param.flags?.includes("MEM_WRITE") === true || param.flags?.includes("MEM_UNINIT") === true;
      const array = unwrap(node);
      if (array.type === "ArrayExpression" && !write) return words(fn, array.elements, index);
      const v = fn.expr(node);
      if (v.k === "js" && (v.value === null || v.value === undefined)) return { v: fn.b.nullPtr() };
      if (v.k === "js" && typeof v.value === "string")
        return { v: fn.b.mapValue(".rodata", fn.module.sections.string(v.value)) };
      const place = placeOf(fn, v, node);
      if (place === undefined) return undefined;
      const s = sizeNode === undefined ? undefined : fn.expr(sizeNode);
      const size = param.size ?? (s?.k === "int" ? Number(s.value) : undefined);
      if (size !== undefined && size > sizeOf(place.type)) {
        fn.report("BPF2016", sizeNode ?? node, { index: size, length: sizeOf(place.type) });
        return undefined;
      }
      return { v: addressOf(fn, place), mem: { arg: index, mode: write ? "inout" : "in", size } };
    }
    default: {
      const v = fn.value(node);
      const said = index === 2 ? /^probe_read_(user|kernel)/.exec(row.name)?.[1] : undefined;
      if (v.k === "scalar" && v.type.k === "ptr" && (said === "user" || said === "kernel"))
        lintSpace(fn, v.type.space, said, node, `use \`bpf.probeRead${v.type.space === "user" ? "User" : "Kernel"}\``);
      if (isContext(fn, v)) return { v: fn.ctx };
      if (v.k === "builtin" && v.pointer !== undefined) return { v: v.pointer };
      if (v.k === "scalar" && v.type.k === "ptr" && v.type.nullable !== undefined && needsPointer(param))
        return void fn.report("BPF2007", node, { what: v.type.nullable, name: nameOf(node) });
      if (v.k === "place" || v.k === "string") {
        const place = placeOf(fn, v, node);
        return place === undefined ? undefined : { v: addressOf(fn, place) };
      }
      if (needsPointer(param) && (v.k === "int" || (v.k === "scalar" && v.type.k !== "ptr")))
        return wrong("a pointer that the kernel gave", v);
      if (v.k === "js" && (v.value === null || v.value === undefined)) return { v: fn.b.nullPtr() };
      const s = fn.scalar(v, node, "a number or pointer");
      return s === undefined ? undefined : { v: s.v };
    }
  }
}

function needsPointer(param: HelperArg): boolean {
  return param.type.startsWith("ARG_PTR") && param.flags?.includes("PTR_MAYBE_NULL") !== true;
}

/** `[a, b]` where a helper reads memory: 64 bits each, the address of text. */
function words(fn: Fn, elements: readonly (Ast | null)[], arg: number): Lowered | undefined {
  if (elements.length === 0) return { v: fn.b.nullPtr() };
  const array = fn.temp({ k: "array", element: U64, length: elements.length }, "values");
  for (const [i, node] of elements.entries()) {
    if (node === null) return undefined;
    const v = fn.value(node);
    const place = isText(v) ? textPlace(fn, v, node) : undefined;
    const word = place === undefined ? (isText(v) ? undefined : fn.int(v, node)) : addressOf(fn, place);
    if (word === undefined) return undefined;
    fn.b.store(array.base, word, { size: 8, off: array.off + i * 8 });
  }
  return { v: addressOf(fn, array), mem: { arg, mode: "in", size: elements.length * 8 } };
}

/** Memory to hand to a helper. */
function placeOf(fn: Fn, v: Val, node: Ast): PlaceVal | undefined {
  if (isText(v)) return textPlace(fn, v, node);
  if (v.k === "place" && v.indices === undefined) return v;
  if (v.k === "opt") fn.report("BPF2007", node, { what: v.what, name: "the value" });
  else if (v.k !== "error")
    fn.report("BPF2006", node, { expected: "memory: a struct, array or text", found: describe(v) });
  return undefined;
}
