/** struct_ops declarations: a value of the kernel struct, with programs for its functions. */
import { encodeUtf8 } from "../core/bytes.ts";
import type { MapSpec } from "../elf/spec.ts";
import { isHandle } from "../probe/handle.ts";
import type { StructOpsHandle } from "../probe/network-programs.ts";
import type { AnyProgram } from "../probe/program-types.ts";
import { BPF_F, BPF_MAP_TYPE } from "../uapi/index.ts";
import type { LocalBtf } from "./btf/local-btf.ts";
import { writeInt } from "./front/sections.ts";
import type { KernelMember, KernelTypes } from "./front/kernel.ts";
import type { ModuleContext } from "./front/module.ts";
import { hint } from "./front/report.ts";
import type { MessageCode } from "./front/messages.ts";

export function isStructOps(value: object): value is StructOpsHandle {
  return isHandle(value) && value.kind === "struct-ops";
}

/** Reports what of a declaration the kernel's struct does not have; true when all is well. */
export function checkStructOps(module: ModuleContext, handle: StructOpsHandle): boolean {
  const { site } = handle;
  const [file, line, col] = site === undefined ? ["", 0, 0] : [site.url, site.line, site.col];
  const say = (code: MessageCode, args: Readonly<Record<string, string>>): false => {
    module.reporter.add(code, { file, line, col, endLine: line, endCol: col + 1 }, args);
    return false;
  };
  const { kernel } = module;
  if (kernel === undefined) return say("BPF4002", {});
  const id = kernel.btf.findId(handle.struct, "struct");
  if (id === 0) return say("BPF4001", { name: handle.struct, hint: "" });
  if (kernel.btf.findId(`bpf_struct_ops_${handle.struct}`, "struct") === 0)
    return say("BPF4006", { struct: handle.struct });
  let fits = true;
  for (const name of [...Object.keys(handle.values), ...Object.keys(handle.programs)]) {
    const m = kernel.member(id, name);
    const known = m !== undefined && m.bitSize === 0;
    if (!known)
      fits = say("BPF2009", {
        struct: `struct ${handle.struct}`,
        field: name,
        hint: hint(name, kernel.memberNames(id)),
      });
    else if (name in handle.programs && kernel.memberArgs(handle.struct, name) === undefined)
      fits = say("BPF2006", { expected: `a value for ${handle.struct}.${name}`, found: "a function" });
    else if (name in handle.values && encode(module, kernel, m, handle.values[name]!) === undefined)
      fits = say("BPF2006", {
        expected: `a value that fits ${handle.struct}.${name}`,
        found: JSON.stringify(String(handle.values[name])),
      });
  }
  return fits;
}

/** The bytes of a plain member; undefined when the value does not fit. */
function encode(
  module: ModuleContext,
  kernel: KernelTypes,
  m: KernelMember,
  value: number | bigint | string,
): Uint8Array | undefined {
  const type = kernel.typeOf(m.type, "probe");
  if (type.k === "char") {
    const bytes = typeof value === "string" ? encodeUtf8(value) : undefined;
    if (bytes === undefined || bytes.length >= type.length) return undefined;
    const out = new Uint8Array(type.length);
    out.set(bytes);
    return out;
  }
  if ((type.k !== "int" && type.k !== "enum") || typeof value === "string") return undefined;
  const n = BigInt(value);
  if (BigInt.asIntN(type.bits, n) !== n && BigInt.asUintN(type.bits, n) !== n) return undefined;
  const out = new Uint8Array(type.bits / 8);
  writeInt(out, 0, n, out.length, module.littleEndian);
  return out;
}

/** The map of a declaration that {@link checkStructOps} let pass. */
export function structOpsMap(
  module: ModuleContext,
  btf: LocalBtf,
  handle: StructOpsHandle,
  name: string,
  progs: ReadonlyMap<AnyProgram, string>,
): MapSpec {
  const kernel = module.kernel!;
  const struct = kernel.findStruct(handle.struct)!;
  const data = new Uint8Array(struct.size);
  const members: string[] = [];
  for (const [member, value] of Object.entries(handle.values)) {
    const m = kernel.member(struct.id, member)!;
    data.set(encode(module, kernel, m, value)!, m.off);
    members.push(member);
  }
  const initialSlots = Object.entries(handle.programs).map(([member, program]) => {
    members.push(member);
    return { key: kernel.member(struct.id, member)!.off, target: progs.get(program)! };
  });
  return {
    name,
    type: BPF_MAP_TYPE.STRUCT_OPS,
    keySize: 4,
    valueSize: struct.size,
    maxEntries: 1,
    flags: handle.link ? BPF_F.LINK : 0,
    mapExtra: 0n,
    numaNode: undefined,
    btfKeyTypeId: 0,
    btfValueTypeId: btf.structOps(
      handle.struct,
      struct.size,
      members.map((n) => kernel.member(struct.id, n)!),
      members,
    ),
    structOps: handle.struct,
    inner: undefined,
    initialSlots: initialSlots.sort((a, b) => a.key - b.key),
    data,
    frozen: false,
    pinning: "none",
    variables: [],
    section: handle.link ? ".struct_ops.link" : ".struct_ops",
  };
}
