/** Contexts of every program type, from values in the program's own terms. */
import { resolve } from "../../../btf/layout.ts";
import { ArgumentError, NotSupportedError } from "../../../core/errors.ts";
import { BPF_ATTACH_TYPE } from "../../../uapi/attach-types.ts";
import { ctxLayout, ctxOf } from "../../../uapi/ctx.ts";
import { PT_REGS } from "../../../uapi/pt-regs.ts";
import { progTypeName } from "../../../uapi/prog-types.ts";
import type { ProgTypeName } from "../../../uapi/prog-types.ts";
import type { KernelObjects } from "../objects.ts";
import type { ContextTarget, ContextValue, Fields, MadeContext, Space } from "../types.ts";
import { fieldError, getBits, integer, putBits, shown } from "../values.ts";
import {
  type Prototype,
  argArray,
  functionPrototype,
  readArgs,
  structOpsPrototype,
  tracepointPrototype,
  wordBytes,
} from "./args.ts";
import type { BareContext, ContextEnv } from "./env.ts";
import { makeRecord, readRecord } from "./record.ts";
import { makeRegs, readRegs } from "./regs.ts";
import { makeSkb } from "./skbuff.ts";
import { makeStruct } from "./struct.ts";

/** What raw tracepoints may read. */
const MAX_ARGS = 12;

/**
 * A context as the kernel would make it. What its fields are depends on the program: fields of `__sk_buff`, `xdp_md` and the like
 * (and `packet`, the packet's bytes); of a trace event's record; arguments of the traced function, hook or iterator by
 * name, and `ret`; registers. What is not given has the kernel's usual value. Bytes are taken as they are: a
 * packet where the program sees one, else the context.
 *
 * @throws ArgumentError with the field's path
 * @throws NotSupportedError when this kernel has no such event, function or hook
 * @example
 * const env = { kernel: packagedKernel("6.1"), objects };
 * const { ctx } = makeContext(prog, { filename: "/bin/ls", argv: ["ls", "-l"] }, env);
 */
export function makeContext(target: ContextTarget, value: ContextValue, env: ContextEnv): MadeContext {
  let objects: KernelObjects | undefined;
  try {
    ({ objects } = env);
  } catch (error) {
    // Of contexts that point to nothing, some are made without the kernel's types.
    if (!(error instanceof NotSupportedError)) throw error;
  }
  if (objects === undefined) return { ...bareContext(target, value, env), release: () => undefined };
  const { value: made, release } = objects.scoped(() => bareContext(target, value, env));
  return { ...made, release };
}

function bareContext(target: ContextTarget, value: ContextValue, env: ContextEnv): BareContext {
  const type = progTypeName(target.type);
  const row = type === undefined || type === "UNSPEC" ? undefined : ctxOf(type);
  if (type === undefined || row === undefined)
    throw new ArgumentError("type", `expected a program type from 1 to 32, got ${target.type}`);
  if (!(value instanceof Uint8Array) && (typeof value !== "object" || value === null || Array.isArray(value)))
    throw new ArgumentError("context", `expected fields or bytes, got ${shown(value)}`);
  switch (row.kind) {
    case "struct":
      return type === "NETFILTER" ? netfilter(value, env) : makeStruct(type, target, value, env);
    case "regs":
      return registers(target, value, env);
    case "record":
      return record(target, value, env);
    case "args":
      return rawTracepoint(target, value, env);
    case "btf":
      return traced(type, target, value, env);
    case "word":
      return lirc(value);
    default:
      if (value instanceof Uint8Array) return plain(value);
      if (Object.keys(value).length === 0) return plain(new Uint8Array(0));
      throw new ArgumentError(
        "context",
        `a ${type} program's context is ${type === "EXT" ? "that of the function it replaces" : "whatever the caller hands over"}: give its bytes`,
      );
  }
}

const plain = (ctx: Uint8Array): BareContext => ({ ctx, exact: true, pointers: {}, read: () => ({}) });

function nameOfTarget(target: ContextTarget): string {
  return target.attachTo ?? "";
}

function record(target: ContextTarget, value: ContextValue, env: ContextEnv): BareContext {
  const event = nameOfTarget(target).replace("/", ":");
  const format = env.kernel.tracepointFormat(event);
  if (format === undefined) {
    if (value instanceof Uint8Array) return plain(value);
    throw new NotSupportedError(
      "tracepoint",
      `Linux ${env.kernel.name} has no trace event ${event}, as far as is known: give the record's bytes`,
    );
  }
  const ctx = value instanceof Uint8Array ? value : makeRecord(env, event, format, value);
  return { ctx, exact: true, pointers: {}, read: (after) => readRecord(format, after) };
}

/** Programs of user space and of the kernel share a type: the section tells. */
function isUser(target: ContextTarget): boolean {
  return /^\??(u(ret)?probe|usdt)/.test(target.section ?? "");
}

function registers(target: ContextTarget, value: ContextValue, env: ContextEnv): BareContext {
  const arch = env.arch ?? "x64";
  const read = (after: Uint8Array): Record<string, unknown> =>
    after.length < PT_REGS[arch].size ? {} : readRegs(arch, after);
  if (value instanceof Uint8Array) return { ctx: value, exact: true, pointers: {}, read };
  const user = isUser(target);
  const symbol = nameOfTarget(target).replace(/\+.*$/, "");
  const proto = user || symbol === "" ? undefined : functionPrototype(env.kernel.btf, symbol);
  const ctx = makeRegs(env, value, proto, user ? "user" : "kernel");
  return { ctx, exact: true, pointers: {}, read };
}

function rawTracepoint(target: ContextTarget, value: ContextValue, env: ContextEnv): BareContext {
  const proto = tracepointPrototype(env.kernel.btf, nameOfTarget(target));
  const read = (after: Uint8Array): Record<string, unknown> =>
    proto === undefined ? {} : readArgs(env.kernel.btf, proto, after, false);
  const padded = (bytes: Uint8Array): Uint8Array => {
    const all = new Uint8Array(Math.max(MAX_ARGS * 8, bytes.length));
    all.set(bytes);
    return all;
  };
  if (value instanceof Uint8Array) return { ctx: padded(value), exact: true, pointers: {}, read };
  const named = proto ?? unknownArgs(env, target, value);
  return { ctx: padded(wordBytes(argArray(env, named, value, { ret: false }))), exact: true, pointers: {}, read };
}

/** Arguments by position only: nobody knows the prototype. */
function unknownArgs(env: ContextEnv, target: ContextTarget, value: Fields): Prototype {
  const u64 = ["__u64", "u64", "long unsigned int"].map((n) => env.kernel.btf.findId(n)).find((id) => id !== 0) ?? 0;
  if (Object.keys(value).some((name) => name !== "args"))
    throw new NotSupportedError(
      "tracepoint",
      `Linux ${env.kernel.name} has no tracepoint ${nameOfTarget(target)}, as far as is known: give its arguments by position, as args`,
    );
  return {
    what: "tracepoint",
    params: Array.from({ length: MAX_ARGS }, (_, i) => ({ name: `arg${i}`, type: u64 })),
    ret: 0,
  };
}

const RETURNS: ReadonlySet<number> = new Set([BPF_ATTACH_TYPE.TRACE_FEXIT, BPF_ATTACH_TYPE.MODIFY_RETURN]);

function traced(type: ProgTypeName, target: ContextTarget, value: ContextValue, env: ContextEnv): BareContext {
  const { btf } = env.kernel;
  const name = nameOfTarget(target);
  // Of hooks and changed functions, what the function or an earlier program returned comes behind the arguments.
  const ret = type === "LSM" || RETURNS.has(target.expectedAttachType);
  const proto = prototypeOf(type, target, env);
  const read = (after: Uint8Array): Record<string, unknown> =>
    proto === undefined ? {} : readArgs(btf, proto, after, ret);
  if (value instanceof Uint8Array) return { ctx: value, exact: true, pointers: {}, read };
  if (proto === undefined)
    throw new NotSupportedError(
      "attach target",
      `the types of Linux ${env.kernel.name} do not say what ${name === "" ? "the program" : name} is called with: give its arguments' bytes, or the whole kernel's types`,
    );
  const space: Space = /^__(x64|ia32|arm64)_sys_/.test(name) ? "user" : "kernel";
  const words = argArray(env, proto, withSkb(value, proto, env), { ret, space });
  return { ctx: wordBytes(words), args: words.length - (ret ? 1 : 0), exact: true, pointers: {}, read };
}

function prototypeOf(type: ProgTypeName, target: ContextTarget, env: ContextEnv): Prototype | undefined {
  const { btf } = env.kernel;
  const name = nameOfTarget(target);
  if (type === "LSM") return functionPrototype(btf, `bpf_lsm_${name}`);
  if (type === "STRUCT_OPS") return structOpsPrototype(btf, name === "" ? memberOfSection(target) : name);
  switch (target.expectedAttachType) {
    case BPF_ATTACH_TYPE.TRACE_RAW_TP:
      return tracepointPrototype(btf, name);
    case BPF_ATTACH_TYPE.TRACE_ITER:
      return functionPrototype(btf, `bpf_iter_${name}`);
    default:
      return functionPrototype(btf, name);
  }
}

const memberOfSection = (target: ContextTarget): string =>
  /^\??struct_ops(?:\.s)?\/(.+)$/.exec(target.section ?? "")?.[1] ?? "";

/** A packet where a `struct sk_buff *` is wanted becomes one. */
function withSkb(value: Fields, proto: Prototype, env: ContextEnv): Fields {
  const out: Record<string, Fields[string]> = { ...value };
  for (const p of proto.params) {
    const given = out[p.name];
    if (!(given instanceof Uint8Array)) continue;
    const pointer = resolve(env.kernel.btf, p.type);
    if (pointer.kind !== "ptr" || pointer.type === 0 || resolve(env.kernel.btf, pointer.type).name !== "sk_buff")
      continue;
    out[p.name] = makeSkb(env, given, "network");
  }
  return out;
}

/** A pulse, a space or the like: mode in the top byte, the duration in µs below it. */
function lirc(value: ContextValue): BareContext {
  const ctx = new Uint8Array(4);
  if (value instanceof Uint8Array) {
    if (value.length > 4) throw fieldError("context", `expected at most 4 bytes, got ${value.length}`);
    ctx.set(value);
  } else {
    for (const [name, field] of Object.entries(value)) {
      if (name !== "sample") throw fieldError(name, "a LIRC_MODE2 program sees nothing but sample");
      putBits(ctx, 0, 32, integer(field ?? 0, 32, name));
    }
  }
  return { ctx, exact: true, pointers: {}, read: (after) => ({ sample: Number(getBits(after, 0, 32)) }) };
}

/** `{ state: { hook, pf, in, out }, packet }`: fields of struct nf_hook_state, and the packet or the fields of its sk_buff. */
function netfilter(value: ContextValue, env: ContextEnv): BareContext {
  const fields: Fields = value instanceof Uint8Array ? { packet: value } : value;
  const known = ["state", "skb", "packet"];
  for (const name of Object.keys(fields))
    if (!known.includes(name)) throw fieldError(name, `a NETFILTER program's context has ${known.join(", ")}`);
  const { state = {}, skb = {}, packet = new Uint8Array(64) } = fields;
  if (!(packet instanceof Uint8Array)) throw fieldError("packet", `expected bytes, got ${shown(packet)}`);
  const address = (given: Fields[string], make: (fields: Fields) => bigint, path: string): bigint => {
    if (typeof given === "bigint" || typeof given === "number") return integer(given, 64, path);
    if (typeof given !== "object" || given === null || given instanceof Uint8Array || Array.isArray(given))
      throw fieldError(path, `expected fields, got ${shown(given)}`);
    return "address" in given && typeof given["address"] === "bigint" ? given["address"] : make(given as Fields);
  };
  const pointers = {
    state: address(
      state,
      (f) => env.objects.pointee(env.objects.typeId("nf_hook_state"), f, "state", "kernel"),
      "state",
    ),
    skb: address(skb, (f) => makeSkb(env, packet, "network", f).address, "skb"),
  };
  const ctx = wordBytes([pointers.state, pointers.skb]);
  // The struct's size is that of its two pointers.
  if (ctx.length !== ctxLayout("bpf_nf_ctx")!.size) throw fieldError("context", "struct bpf_nf_ctx has changed");
  return { ctx, exact: true, pointers, read: () => ({ ...pointers }) };
}
