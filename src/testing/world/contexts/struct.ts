/** Contexts that are structs of the uapi: packets' and sockets', as the kernel converts what it has into them. */
import { BPF_ATTACH_TYPE } from "../../../uapi/attach-types.ts";
import { type CtxRow, ctxLayout, ctxOf } from "../../../uapi/ctx.ts";
import { PT_REGS } from "../../../uapi/pt-regs.ts";
import type { ProgTypeName } from "../../../uapi/prog-types.ts";
import { ETH_P, IPPROTO } from "../packet/headers.ts";
import { parsePacket } from "../packet/parse.ts";
import type { ContextTarget, ContextValue, FieldValue, Fields } from "../types.ts";
import { fieldError, getBits, integer, isKernelObject, putBits, shown } from "../values.ts";
import type { BareContext, ContextEnv } from "./env.ts";
import { makeRegs, readRegs } from "./regs.ts";
import { fieldOf, getFields, putField, putFields } from "./uapi.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const ETH_HLEN = 14;
/** Index of the loopback device, on which BPF_PROG_TEST_RUN has packets arrive. */
const LOOPBACK = 1;

/** Programs whose packet the VM lays out itself. */
const VM_PACKETS: ReadonlySet<ProgTypeName> = new Set<ProgTypeName>([
  "SOCKET_FILTER",
  "SCHED_CLS",
  "SCHED_ACT",
  "XDP",
  "CGROUP_SKB",
  "LWT_IN",
  "LWT_OUT",
  "LWT_XMIT",
  "LWT_SEG6LOCAL",
  "SK_SKB",
]);
/** Fields with the bounds of what a program may read, where the context holds them; what a test calls the bytes. */
const BUFFERS: Readonly<
  Partial<Record<ProgTypeName, { start: string; end: string; name: string; writable: boolean }>>
> = {
  SOCK_OPS: { start: "skb_data", end: "skb_data_end", name: "packet", writable: false },
  SK_MSG: { start: "data", end: "data_end", name: "packet", writable: true },
  SK_REUSEPORT: { start: "data", end: "data_end", name: "packet", writable: false },
  CGROUP_SOCKOPT: { start: "optval", end: "optval_end", name: "optval", writable: true },
};

export function makeStruct(
  type: ProgTypeName,
  target: ContextTarget,
  value: ContextValue,
  env: ContextEnv,
): BareContext {
  const row = ctxLayout(ctxOf(type)?.struct ?? "")!;
  if (type === "PERF_EVENT") return perfEvent(row, value, env);
  if (VM_PACKETS.has(type)) return packetContext(type, row, target, value, env);
  if (value instanceof Uint8Array && BUFFERS[type] === undefined && type !== "FLOW_DISSECTOR") {
    if (value.length > row.size)
      throw fieldError("context", `expected at most the ${row.size} bytes of struct ${row.name}, got ${value.length}`);
    const ctx = new Uint8Array(row.size);
    ctx.set(value);
    return { ctx, exact: true, pointers: {}, read: (after) => getFields(row, after) };
  }
  return socketContext(type, row, target, value, env);
}

/** Splits off what is no field of the struct. */
function split(row: CtxRow, value: Fields, name: string): { bytes: Uint8Array | undefined; fields: Fields } {
  const { [name]: given, ...fields } = value;
  if (given === undefined || given instanceof Uint8Array) return { bytes: given, fields };
  // A field of that name may be given as the address that it is.
  if (row.fields.some((f) => f.name === name) && (typeof given === "bigint" || typeof given === "number"))
    return { bytes: undefined, fields: value };
  throw fieldError(name, `expected bytes, got ${shown(given)}`);
}

// Packets

function packetContext(
  type: ProgTypeName,
  row: CtxRow,
  target: ContextTarget,
  value: ContextValue,
  env: ContextEnv,
): BareContext {
  const given = value instanceof Uint8Array ? { packet: value } : value;
  const { bytes, fields } = split(row, given, "packet");
  const data = bytes ?? new Uint8Array(64);
  const pointers: Record<string, bigint> = {};
  const ctx = new Uint8Array(row.size);
  const leaving = target.expectedAttachType === BPF_ATTACH_TYPE.CGROUP_INET_EGRESS && type === "CGROUP_SKB";
  const all: Record<string, FieldValue | undefined> = { ...usual(type, row, data, leaving), ...fields };
  let { data_meta: meta } = all;
  for (const name of ["data", "data_end", "data_meta"]) {
    if (all[name] === undefined || name === "data_meta") continue;
    throw fieldError(name, "the packet's place is not a test's to choose: give its bytes as packet");
  }
  delete all["data_meta"];
  if (all["sk"] !== undefined) pointers["sk"] = socketPointer(all["sk"], env, "sk", usualSocket(data, leaving));
  if (pointers["sk"] !== undefined) all["sk"] = pointers["sk"];
  putFields(row, all, ctx);
  if (type === "XDP" && meta !== undefined) {
    // TEST_RUN's own way to say so: `data` is how much of the bytes in front is metadata.
    if (!(meta instanceof Uint8Array))
      throw fieldError("data_meta", `expected the metadata's bytes, got ${shown(meta)}`);
    if (meta.length > 252 || meta.length % 4 !== 0)
      throw fieldError("data_meta", `expected a multiple of 4 bytes up to 252, got ${meta.length}`);
    putBits(ctx, 0, 32, BigInt(meta.length));
    const whole = new Uint8Array(meta.length + data.length);
    whole.set(meta);
    whole.set(data, meta.length);
    return { ctx, data: whole, exact: true, pointers, read: (after) => getFields(row, after) };
  }
  if (meta !== undefined) throw fieldError("data_meta", `a ${type} program's packet has no metadata when it starts`);
  return { ctx, data, exact: true, pointers, read: (after) => getFields(row, after) };
}

/** What the kernel itself fills in of a packet that arrives on the loopback device. */
function usual(type: ProgTypeName, row: CtxRow, data: Uint8Array, leaving: boolean): Fields {
  if (row.name === "xdp_md") return { ingress_ifindex: LOOPBACK };
  const l2 = type === "SCHED_CLS" || type === "SCHED_ACT";
  const length = l2 ? data.length : Math.max(0, data.length - ETH_HLEN);
  const destination = data.subarray(0, 6);
  const broadcast = destination.length === 6 && destination.every((b) => b === 0xff);
  const multicast = ((destination[0] ?? 0) & 1) === 1;
  const addresses = l2 || type === "SOCKET_FILTER" || type.startsWith("LWT") ? {} : flowOf(data, leaving);
  return {
    len: length,
    pkt_type: broadcast ? 1 : multicast ? 2 : 0,
    protocol: etherType(data),
    ifindex: LOOPBACK,
    ingress_ifindex: 0,
    ...(l2 ? { wire_len: length } : {}),
    ...addresses,
  };
}

/** eth_type_trans: the type, or what stands for IEEE 802.3 frames. */
function etherType(data: Uint8Array): number {
  const type = ((data[12] ?? 0) << 8) | (data[13] ?? 0);
  if (type >= 0x600 || data.length < ETH_HLEN) return type;
  return data[14] === 0xff && data[15] === 0xff ? 1 : 4;
}

/** Family, addresses and ports as the socket has them that receives the packet, or sent it. */
function flowOf(data: Uint8Array, leaving: boolean): Fields {
  const layers = parsePacket(data);
  const ip = layers.find((l) => l.kind === "ipv4" || l.kind === "ipv6");
  const transport = layers.find((l) => l.kind === "tcp" || l.kind === "udp");
  if (ip === undefined) return {};
  const four = ip.kind === "ipv4";
  const [remote, local] = leaving ? (["dst", "src"] as const) : (["src", "dst"] as const);
  const ports = leaving ? (["dport", "sport"] as const) : (["sport", "dport"] as const);
  return {
    family: four ? AF_INET : AF_INET6,
    [four ? "remote_ip4" : "remote_ip6"]: ip.fields[remote],
    [four ? "local_ip4" : "local_ip6"]: ip.fields[local],
    ...(transport === undefined
      ? {}
      : { remote_port: transport.fields[ports[0]], local_port: transport.fields[ports[1]] }),
  };
}

function usualSocket(data: Uint8Array, leaving: boolean): Fields {
  const flow = flowOf(data, leaving);
  const protocol = parsePacket(data).some((l) => l.kind === "udp") ? IPPROTO.UDP : IPPROTO.TCP;
  return {
    family: flow["family"] ?? AF_INET,
    type: protocol === IPPROTO.UDP ? 2 : SOCK_STREAM,
    protocol,
    ...(flow["local_ip4"] === undefined ? {} : { src_ip4: flow["local_ip4"], dst_ip4: flow["remote_ip4"] }),
    ...(flow["local_ip6"] === undefined ? {} : { src_ip6: flow["local_ip6"], dst_ip6: flow["remote_ip6"] }),
    ...(flow["local_port"] === undefined ? {} : { src_port: flow["local_port"], dst_port: flow["remote_port"] }),
  };
}

// Sockets

/** A `struct bpf_sock` in memory, or the address that was given. */
function socketPointer(value: FieldValue | undefined, env: ContextEnv, path: string, usualFields: Fields): bigint {
  if (value === null) return 0n;
  if (typeof value === "bigint" || typeof value === "number") return integer(value, 64, path);
  if (isKernelObject(value as FieldValue)) return (value as unknown as { address: bigint }).address;
  if (typeof value !== "object" || value instanceof Uint8Array || Array.isArray(value))
    throw fieldError(path, `expected the fields of struct bpf_sock, got ${shown(value)}`);
  const sock = ctxLayout("bpf_sock")!;
  const bytes = new Uint8Array(sock.size);
  putFields(sock, { ...usualFields, ...(value as Fields) }, bytes, path);
  return env.objects.bytes(bytes, "kernel", "struct bpf_sock");
}

function socketContext(
  type: ProgTypeName,
  row: CtxRow,
  target: ContextTarget,
  value: ContextValue,
  env: ContextEnv,
): BareContext {
  const { objects } = env;
  const buffer = BUFFERS[type];
  const name = buffer?.name ?? "packet";
  const given: Fields = value instanceof Uint8Array ? { [name]: value } : value;
  const { bytes, fields } =
    buffer === undefined && type !== "FLOW_DISSECTOR" ? { bytes: undefined, fields: given } : split(row, given, name);
  const ctx = new Uint8Array(row.size);
  const pointers: Record<string, bigint> = {};
  const all: Record<string, FieldValue | undefined> = { ...defaults(type, target), ...fields };
  if (type === "FLOW_DISSECTOR") return flowDissector(row, all, bytes ?? new Uint8Array(64), ctx, env);
  if (buffer !== undefined) {
    const content = bytes ?? new Uint8Array(0);
    const start = objects.bytes(
      content,
      "kernel",
      type === "CGROUP_SOCKOPT" ? "the option's value" : "the packet",
      buffer.writable,
    );
    pointers[buffer.start] = start;
    pointers[buffer.end] = start + BigInt(content.length);
    if (type === "CGROUP_SOCKOPT") all["optlen"] ??= content.length;
    if (type === "SK_MSG") all["size"] ??= content.length;
    if (type === "SK_REUSEPORT") all["len"] ??= content.length;
    if (type === "SOCK_OPS") all["skb_len"] ??= content.length;
  }
  for (const field of row.fields) {
    if (!field.type.startsWith("struct bpf_sock *")) continue;
    const sk = all[field.name];
    if (sk !== undefined) pointers[field.name] = socketPointer(sk, env, field.name, socketOf(all));
  }
  // bpf_sk_lookup has a cookie where its socket is: one or the other.
  const { sk: _, ...plainFields } = all;
  putFields(row, pointers["sk"] === undefined ? all : plainFields, ctx);
  for (const [field, address] of Object.entries(pointers)) putField(fieldOf(row, field), address, ctx, field);
  const read = (after: Uint8Array): Record<string, unknown> => {
    const out = getFields(row, after);
    if (buffer === undefined) return out;
    const size = Number(pointers[buffer.end]! - pointers[buffer.start]!);
    return { ...out, [buffer.name]: objects.memory.read(pointers[buffer.start]!, size) ?? new Uint8Array(0) };
  };
  return { ctx, exact: true, pointers, read };
}

/** What the fields of the context say of its socket. */
function socketOf(all: Readonly<Record<string, FieldValue | undefined>>): Fields {
  const { family, type, protocol } = all;
  return { family: family ?? AF_INET, type: type ?? SOCK_STREAM, protocol: protocol ?? IPPROTO.TCP };
}

/** What the kernel fills in by itself, by program and hook. */
function defaults(type: ProgTypeName, target: ContextTarget): Fields {
  const attach = Object.entries(BPF_ATTACH_TYPE).find(([, n]) => n === target.expectedAttachType)?.[0] ?? "";
  const six = attach.includes("INET6") || attach.includes("UDP6");
  const unix = attach.includes("UNIX");
  const family = unix ? 1 : six ? AF_INET6 : AF_INET;
  const datagram = attach.includes("UDP");
  const sock = { family, type: datagram ? 2 : SOCK_STREAM, protocol: datagram ? IPPROTO.UDP : unix ? 0 : IPPROTO.TCP };
  switch (type) {
    case "CGROUP_SOCK_ADDR":
      return { user_family: family, ...sock, sk: {} };
    case "CGROUP_SOCK":
      return sock;
    case "SOCK_OPS":
      return { family: AF_INET, is_fullsock: 1, sk: {} };
    case "SK_MSG":
      return { family: AF_INET, sk: {} };
    case "SK_REUSEPORT":
      return { eth_protocol: ETH_P.IP, ip_protocol: IPPROTO.TCP, sk: {} };
    case "SK_LOOKUP":
      return { family: AF_INET, protocol: IPPROTO.TCP };
    case "CGROUP_SOCKOPT":
      return { sk: {} };
    default:
      return {};
  }
}

/** The packet, and flow_keys that point to keys which the kernel has begun with. */
function flowDissector(
  row: CtxRow,
  all: Readonly<Record<string, FieldValue | undefined>>,
  packet: Uint8Array,
  ctx: Uint8Array,
  env: ContextEnv,
): BareContext {
  const { objects } = env;
  const keys = ctxLayout("bpf_flow_keys")!;
  const { flow_keys: given = {}, ...others } = all;
  for (const name of Object.keys(others))
    if (others[name] !== undefined) throw fieldError(name, "a FLOW_DISSECTOR program sees packet and flow_keys only");
  if (typeof given !== "object" || given === null || given instanceof Uint8Array || Array.isArray(given))
    throw fieldError("flow_keys", `expected the fields of struct bpf_flow_keys, got ${shown(given)}`);
  const bytes = new Uint8Array(keys.size);
  putFields(
    keys,
    { nhoff: ETH_HLEN, thoff: ETH_HLEN, n_proto: etherType(packet), ...(given as Fields) },
    bytes,
    "flow_keys",
  );
  const flowKeys = objects.bytes(bytes, "kernel", "struct bpf_flow_keys", true);
  const data = objects.bytes(packet, "kernel", "the packet");
  const end = data + BigInt(packet.length);
  putField(fieldOf(row, "flow_keys"), flowKeys, ctx, "flow_keys");
  putBits(ctx, fieldOf(row, "data").offset * 8, 32, data & 0xffff_ffffn);
  putBits(ctx, fieldOf(row, "data_end").offset * 8, 32, end & 0xffff_ffffn);
  const read = (): Record<string, unknown> => ({
    flow_keys: getFields(keys, objects.memory.read(flowKeys, keys.size) ?? bytes),
  });
  return { ctx, exact: true, pointers: { flow_keys: flowKeys, data, data_end: end }, read };
}

// Perf events

function perfEvent(row: CtxRow, value: ContextValue, env: ContextEnv): BareContext {
  const arch = env.arch ?? "x64";
  const regsSize = PT_REGS[arch].size;
  // The two numbers come behind the registers, however many there are.
  const shift = regsSize - fieldOf(row, "sample_period").offset;
  const size = row.size + shift;
  const read = (after: Uint8Array): Record<string, unknown> =>
    after.length < size
      ? {}
      : {
          regs: readRegs(arch, after),
          sample_period: getBits(after, regsSize * 8, 64),
          addr: getBits(after, regsSize * 8 + 64, 64),
        };
  if (value instanceof Uint8Array) return { ctx: value, exact: true, pointers: {}, read };
  const { regs = {}, ...fields } = value;
  const ctx = new Uint8Array(size);
  if (regs instanceof Uint8Array) {
    if (regs.length > regsSize) throw fieldError("regs", `expected at most ${regsSize} bytes, got ${regs.length}`);
    ctx.set(regs);
  } else {
    if (typeof regs !== "object" || regs === null || Array.isArray(regs))
      throw fieldError("regs", `expected registers by name, got ${shown(regs)}`);
    ctx.set(makeRegs(env, regs as Fields, undefined, "user"));
  }
  for (const [name, field] of Object.entries(fields)) {
    if (field === undefined) continue;
    const { offset } = fieldOf(row, name);
    putBits(ctx, (offset + shift) * 8, 64, integer(field, 64, name));
  }
  return { ctx, exact: true, pointers: {}, read };
}
