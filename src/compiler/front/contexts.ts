/** `ctx`, typed by what the program is attached to. */
import { BpfkitError } from "../../core/errors.ts";
import type { AnyProgram } from "../../probe/program-types.ts";
import type { StructSchema } from "../../probe/schema-types.ts";
import { PT_REGS, ctxAccess, ctxLayout, ctxOf } from "../../uapi/index.ts";
import type { AttachTypeName, CtxFieldRow, ProgTypeName } from "../../uapi/index.ts";
import { sectionFor } from "../../uapi/index.ts";
import type { Inst, Size } from "../ir/ir.ts";
import type { Ast } from "./ast.ts";
import { parseCType } from "./ctypes.ts";
import type { Fn } from "./context.ts";
import type { KernelArg } from "./kernel.ts";
import { packetOf } from "./packet.ts";
import { within } from "./place.ts";
import { stringAt } from "./reads.ts";
import { hint } from "./report.ts";
import { SIGNED, UNSIGNED } from "./sign.ts";
import type { TracepointField, TracepointFormat } from "./targets.ts";
import type { Type } from "./types.ts";
import { U64, fromSchema, intType, isScalar, sizeOf } from "./types.ts";
import type { BuiltinVal, PlaceVal, Val } from "./value.ts";
import { ERROR } from "./value.ts";

/** Kernel name of a program's type, as the tables have it. */
export function progTypeName(handle: AnyProgram): ProgTypeName {
  return handle.type.toUpperCase() as ProgTypeName;
}

/** Programs that have functions with such an argument: what replaces one may call what they may. */
const PROGRAMS_WITH: Readonly<Record<string, ProgTypeName>> = {
  xdp_md: "XDP",
  __sk_buff: "SCHED_CLS",
  bpf_sock_addr: "CGROUP_SOCK_ADDR",
  bpf_sock_ops: "SOCK_OPS",
  sk_msg_md: "SK_MSG",
  bpf_sock: "CGROUP_SOCK",
};

/** The program type whose helpers a program may call. */
export function helperTypeOf(handle: AnyProgram): ProgTypeName {
  const { attach } = handle;
  const context = attach.how === "freplace" ? Object.values(attach.args).find((a) => typeof a === "string") : undefined;
  return (typeof context === "string" ? PROGRAMS_WITH[context] : undefined) ?? progTypeName(handle);
}

/** The attach type that the section implies. */
export function attachTypeOf(handle: AnyProgram): AttachTypeName | undefined {
  const row = sectionFor(handle.section)?.row;
  return row?.attachType;
}

/** The value of the first parameter. */
export function contextValue(fn: Fn): BuiltinVal {
  const { handle } = fn.program;
  const members = membersOf(fn, handle);
  return {
    k: "builtin",
    what: `the context of ${handle.section}`,
    members: members.names,
    member: members.get,
  };
}

/** The program's own context where an argument of a helper must be one. */
export function isContext(fn: Fn, v: Val): boolean {
  return v.k === "builtin" && (v.what === `the context of ${fn.program.handle.section}` || v.pointer === fn.ctx);
}

/** The context that a replaced function is given: all that programs of some type may read of it. */
export function contextOf(fn: Fn, struct: string): BuiltinVal {
  const members = uapiStruct(fn, fn.program.handle, struct);
  return { k: "builtin", what: `struct ${struct}`, pointer: fn.ctx, members: members.names, member: members.get };
}

interface Members {
  readonly names: () => readonly string[];
  readonly get: (name: string, node: Ast) => Val | undefined;
}

function membersOf(fn: Fn, handle: AnyProgram): Members {
  const { attach } = handle;
  const kind = ctxOf(progTypeName(handle));
  switch (attach.how) {
    case "tracepoint":
      return tracepoint(fn, attach.category, attach.name);
    case "trace":
      return btfArgs(
        fn,
        attach.at === "tp_btf"
          ? fn.module.kernel?.tracepointArgs(attach.target)
          : fn.module.kernel?.functionArgs(attach.target),
        attach.target,
      );
    case "lsm":
      return btfArgs(fn, fn.module.kernel?.functionArgs(`bpf_lsm_${attach.hook}`), attach.hook);
    case "none":
      if (attach.context !== undefined) return fieldsOf(fn, attach.context);
      break;
    case "struct_ops":
      return btfArgs(
        fn,
        fn.module.kernel?.memberArgs(attach.struct, attach.member),
        `${attach.struct}.${attach.member}`,
      );
    case "iter":
      return btfArgs(fn, fn.module.kernel?.functionArgs(`bpf_iter_${attach.target}`), attach.target);
    default:
      break;
  }
  switch (kind?.kind) {
    case "regs":
      return registers(fn, 0);
    case "args":
      return fixed({
        args: {
          k: "place",
          type: { k: "array", element: U64, length: 12 },
          base: fn.ctx,
          off: 0,
          space: "ctx",
          readonly: "the context",
        },
      });
    case "struct":
      return uapiStruct(fn, handle, kind.struct ?? "");
    case "word":
      return fixed({
        sample: { k: "place", type: intType(32, false), base: fn.ctx, off: 0, space: "ctx", readonly: "the context" },
      });
    default:
      return fixed({});
  }
}

/** What user space hands a syscall program: memory that it gets back. */
function fieldsOf(fn: Fn, schema: StructSchema): Members {
  const place: PlaceVal = { k: "place", type: { k: "struct", schema }, base: fn.ctx, off: 0, space: "ctx" };
  return {
    names: () => schema.fields.map((f) => f.name),
    get: (name) => {
      const field = schema.fields.find((f) => f.name === name);
      return field === undefined ? undefined : within(place, field.offset, fromSchema(field.schema));
    },
  };
}

function fixed(values: Readonly<Record<string, Val>>): Members {
  return { names: () => Object.keys(values), get: (name) => values[name] };
}

// Trace events

function tracepoint(fn: Fn, category: string, name: string): Members {
  let format: TracepointFormat | undefined;
  let instead = "run as root on the kernel that has it, so that its format can be read from tracefs";
  try {
    format = fn.module.options.tracepointFormat?.(`${category}:${name}`);
  } catch (error) {
    if (!(error instanceof BpfkitError)) throw error;
    instead = error.message;
  }
  if (format === undefined) {
    return {
      names: () => [],
      get: (_, node) => fn.report("BPF3005", node, { name: `${category}:${name}`, instead }),
    };
  }
  const { fields } = format;
  const user = category === "syscalls";
  return {
    names: () => fields.map((f) => f.name).filter((n) => !n.startsWith("common_")),
    get: (member, node) => {
      const field = fields.find((f) => f.name === member);
      return field === undefined ? undefined : eventField(fn, field, user, node);
    },
  };
}

function eventField(fn: Fn, field: TracepointField, user: boolean, node: Ast): Val {
  const { b } = fn;
  const place = (type: PlaceVal["type"], off = field.offset): PlaceVal => ({
    k: "place",
    type,
    base: fn.ctx,
    off,
    space: "ctx",
    readonly: "the context",
    invariant: true,
  });
  const dynamic =
    field.dynamic ??
    (field.type.startsWith("__data_loc ") ? "data_loc" : field.type.startsWith("__rel_loc ") ? "rel_loc" : undefined);
  if (dynamic !== undefined) {
    const isText = /\bchar\s*\[\]/.test(field.type);
    if (!isText) return place(intType(32, false));
    const address = (): Inst => {
      const where = b.and(b.load(fn.ctx, { size: 4, off: field.offset, invariant: true }), 0xffff);
      const at = b.add(fn.ctx, where);
      // __rel_loc counts from behind the field.
      return dynamic === "rel_loc" ? b.add(at, field.offset + 4) : at;
    };
    return stringAt(fn, "kernel", address, 64, node);
  }
  const type = parseCType(field.type, { user, kernel: fn.module.kernel, size: field.size, signed: field.signed });
  // Arguments of system calls are stored as longs, whatever their type: an int's upper half means nothing.
  const size = sizeOf(type);
  const off =
    isScalar(type) && size < field.size && !fn.module.littleEndian ? field.offset + field.size - size : field.offset;
  return place(type, off);
}

// Arguments typed by BTF

function btfArgs(fn: Fn, args: readonly KernelArg[] | undefined, target: string): Members {
  const { kernel } = fn.module;
  if (args === undefined || kernel === undefined) {
    return {
      names: () => [],
      get: (_, node) =>
        kernel === undefined ? fn.report("BPF4002", node) : fn.report("BPF4001", node, { name: target, hint: "" }),
    };
  }
  return {
    names: () => args.map((a) => a.name),
    get: (name) => {
      const index = args.findIndex((a) => a.name === name);
      const arg = args[index];
      return arg === undefined ? undefined : btfArg(fn, arg.type, index);
    },
  };
}

/** Argument `index` of a traced function: 8 bytes each, narrowed to the declared type. */
export function btfArg(fn: Fn, typeId: number, index: number): Val {
  const { kernel } = fn.module;
  if (kernel === undefined) return ERROR;
  const type = kernel.typeOf(typeId, "trusted");
  const off = index * 8;
  const pointer = type.k === "ptr" && type.space === "kernel" && type.to?.k === "kstruct";
  const v = fn.b.load(fn.ctx, { size: 8, off, invariant: true, ...(pointer ? { space: "btf" as const } : {}) });
  return narrowed(fn, type, v);
}

/** A register that holds a value of `type` with undefined upper bits. */
export function narrowed(fn: Fn, type: Type, v: Inst): Val {
  switch (type.k) {
    case "int":
    case "enum": {
      if (type.bits === 64) return { k: "scalar", type, v };
      return { k: "scalar", type, v: type.sign.signed ? fn.b.sext(v, type.bits) : fn.b.zext(v, type.bits) };
    }
    case "bool":
      return { k: "scalar", type, v: fn.b.and(v, 1) };
    case "ptr":
      return { k: "scalar", type, v };
    default:
      return { k: "scalar", type: U64, v };
  }
}

// Registers

/** `ctx.di`, `ctx.regs.ip`: the registers by the architecture's names. */
export function registers(fn: Fn, base: number): Members {
  const row = PT_REGS[fn.module.arch];
  const regs: Readonly<Record<string, number>> = row.regs;
  return {
    names: () => Object.keys(regs),
    get: (name) => {
      const off = regs[name];
      return off === undefined
        ? undefined
        : {
            k: "place",
            type: U64,
            base: fn.ctx,
            off: base + off,
            space: "ctx",
            readonly: "the context",
            invariant: true,
          };
    },
  };
}

// Structs of the uapi

function uapiStruct(fn: Fn, handle: AnyProgram, struct: string): Members {
  const layout = ctxLayout(struct);
  const progType = progTypeName(handle);
  const access = ctxAccess(progType, attachTypeOf(handle));
  const readable =
    layout?.fields.filter(
      (f) => access === undefined || access.read.includes(f.name) || access.write.includes(f.name),
    ) ?? [];
  return {
    names: () => [...readable.map((f) => f.name), ...(packetFields(readable) === undefined ? [] : ["packet"])],
    get: (name, node) => {
      const data = packetFields(readable);
      if (name === "packet" && data !== undefined) return packetOf(fn, data.start, data.end);
      const field = layout?.fields.find((f) => f.name === name);
      if (field === undefined) return undefined;
      if (!readable.includes(field)) {
        return fn.report("BPF3004", node, {
          value: `the context of a ${handle.type} program`,
          field: name,
          hint: hint(
            name,
            readable.map((f) => f.name),
          ),
        });
      }
      if (name === "regs") {
        const regs = registers(fn, field.offset);
        return { k: "builtin", what: "the registers", member: regs.get, members: regs.names };
      }
      const writable = access?.write.includes(name) ?? false;
      return contextField(fn, field, writable);
    },
  };
}

function packetFields(fields: readonly CtxFieldRow[]): { start: CtxFieldRow; end: CtxFieldRow } | undefined {
  const start = fields.find((f) => f.reg === "PTR_TO_PACKET");
  const end = fields.find((f) => f.reg === "PTR_TO_PACKET_END");
  return start === undefined || end === undefined ? undefined : { start, end };
}

function contextField(fn: Fn, field: CtxFieldRow, writable: boolean): Val {
  const flags = writable ? {} : { readonly: `the context's ${field.name}` };
  if (field.reg !== undefined) {
    const v = fn.b.load(fn.ctx, {
      size: field.size as Size,
      off: field.offset,
      space:
        field.reg === "PTR_TO_PACKET"
          ? "packet"
          : field.reg === "PTR_TO_PACKET_END"
            ? "packet-end"
            : field.reg === "PTR_TO_PACKET_META"
              ? "packet-meta"
              : field.reg === "PTR_TO_FLOW_KEYS"
                ? "mem"
                : "btf",
    });
    const inner = /^struct (\w+) \*$/.exec(field.type)?.[1];
    if (field.reg === "PTR_TO_BTF_ID") {
      const to = inner === undefined ? undefined : fn.module.kernel?.findStruct(inner);
      return { k: "scalar", type: { k: "ptr", to, space: "kernel", trust: "trusted" }, v };
    }
    const nullable = field.reg.endsWith("_OR_NULL") ? `the context's ${field.name}` : undefined;
    if (inner !== undefined && ctxLayout(inner) !== undefined)
      return uapiPointer(fn, inner, v, {
        nullable,
        writable: field.reg === "PTR_TO_FLOW_KEYS",
        common: field.reg.startsWith("PTR_TO_SOCK_COMMON"),
      });
    return { k: "scalar", type: { k: "ptr", to: undefined, space: "unknown", trust: "probe" }, v };
  }
  return { k: "place", type: fieldType(field), base: fn.ctx, off: field.offset, space: "ctx", ...flags };
}

interface UapiPointer {
  /** Names it in messages, when it may be null. */
  readonly nullable: string | undefined;
  readonly writable?: boolean;
  /** Possibly a request or time-wait socket, which lacks some fields (bpf_sock_common_is_valid_access). */
  readonly common: boolean;
}
const FULL_SOCKETS_ONLY: ReadonlySet<string> = new Set(["type", "protocol", "mark", "priority"]);

/** A pointer to a struct of the uapi that a program reads through: `struct bpf_sock`. */
export function uapiPointer(fn: Fn, struct: string, v: Inst, { nullable, writable, common }: UapiPointer): Val {
  const fields = (ctxLayout(struct)?.fields ?? []).filter((f) => !common || !FULL_SOCKETS_ONLY.has(f.name));
  const readonly = writable === true ? {} : { readonly: `struct ${struct}` };
  const value: BuiltinVal = {
    k: "builtin",
    what: `struct ${struct}`,
    pointer: v,
    members: () => fields.map((f) => f.name),
    member: (name, node) => {
      const f = fields.find((x) => x.name === name);
      if (f !== undefined) return { k: "place", type: fieldType(f), base: v, off: f.offset, space: "btf", ...readonly };
      return common && FULL_SOCKETS_ONLY.has(name)
        ? fn.report("BPF3004", node, {
            value: "a socket that may not be a full one",
            field: name,
            hint: "; `bpf.skFullsock(sk)` gives the full one, if it is",
          })
        : undefined;
    },
  };
  if (nullable === undefined) return value;
  const inner: PlaceVal = {
    k: "place",
    type: { k: "array", element: U64, length: 0 },
    base: v,
    off: 0,
    space: "btf",
    ref: true,
  };
  return { k: "opt", ptr: v, inner, value, what: nullable };
}

function fieldType(field: CtxFieldRow): PlaceVal["type"] {
  const m = /^([us])(8|16|32|64)(?:\[(\d+)\])?$/.exec(field.type);
  const bits = (m === null ? field.size * 8 : Number(m[2])) as 8 | 16 | 32 | 64;
  const sign = m?.[1] === "s" ? SIGNED : UNSIGNED;
  const order =
    field.networkOrder === undefined
      ? {}
      : ({ bigEndian: true, ...(field.networkOrder === 16 ? { swapped: 16 } : {}) } as const);
  const element = { k: "int", bits, sign, ...order } as const;
  return m?.[3] === undefined ? element : { k: "array", element, length: Number(m[3]) };
}
