/** struct_ops maps: the variables of `.struct_ops` and `.struct_ops.link`, structs with function pointers. */
import type { Btf } from "../btf/btf.ts";
import { resolve, resolveId } from "../btf/layout.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { SHT } from "./constants.ts";
import type { ObjectFile } from "./object-file.ts";
import type { ElfSection } from "./reader.ts";
import type { MapSpec } from "./spec.ts";

/** `.struct_ops`, `.struct_ops.link` and both with "?" in front (not created unless asked for). */
export const isStructOpsSection = (name: string): boolean => /^\??\.struct_ops(?:\.link)?$/.test(name);

/**
 * The struct_ops maps in order of section and offset. `programAt` names the entry program at a byte
 * offset of a section.
 *
 * @throws DecodeError when a definition is malformed
 */
export function readStructOps(
  file: ObjectFile,
  programAt: (section: number, offset: number) => string | undefined,
): MapSpec[] {
  return file.elf.sections
    .filter((s) => s.type === SHT.PROGBITS && s.size > 0 && isStructOpsSection(s.name))
    .flatMap((section) => readSection(file, section, programAt));
}

function readSection(
  file: ObjectFile,
  section: ElfSection,
  programAt: (section: number, offset: number) => string | undefined,
): MapSpec[] {
  const { btf } = file;
  const sec = btf?.findByName(section.name, "datasec");
  if (btf === undefined || sec === undefined)
    throw file.error(section, 0, "struct_ops maps without BTF: compile with -g");
  const bytes = file.elf.data(section);
  const optional = section.name.startsWith("?");
  const linked = section.name.endsWith(".link");
  const slots = new Map<number, { key: number; target: string }[]>();
  const maps = sec.vars.map((v): MapSpec => {
    const type = btf.typeById(v.type);
    if (type.kind !== "var") throw file.error(section, v.offset, `expected a variable, got ${btf.describe(v.type)}`);
    const id = resolveId(btf, type.type);
    const struct = btf.typeById(id);
    if (struct.kind !== "struct" || struct.name === "") {
      throw file.error(section, v.offset, `${type.name}: expected a named struct, got ${btf.describe(id)}`);
    }
    if (v.offset + struct.size > bytes.length) {
      throw file.error(
        section,
        v.offset,
        `${type.name} of ${struct.size} bytes reaches past the section's ${bytes.length}`,
      );
    }
    const initialSlots: { key: number; target: string }[] = [];
    slots.set(v.offset, initialSlots);
    return {
      name: type.name,
      type: BPF_MAP_TYPE.STRUCT_OPS,
      keySize: 4,
      valueSize: struct.size,
      maxEntries: 1,
      flags: linked ? BPF_F.LINK : 0,
      mapExtra: 0n,
      numaNode: undefined,
      btfKeyTypeId: 0,
      btfValueTypeId: id,
      structOps: struct.name,
      inner: undefined,
      initialSlots,
      data: bytes.subarray(v.offset, v.offset + struct.size),
      frozen: false,
      pinning: "none",
      variables: [],
      section: optional ? section.name.slice(1) : section.name,
      ...(optional ? { autocreate: false } : {}),
    };
  });
  const starts = sec.vars.map((v) => v.offset);
  let at = 0;
  for (const r of file.relocations(section)) {
    const symbol = file.symbol(section, r);
    // Both are in ascending order.
    while (at < maps.length - 1 && (starts[at] as number) + (maps[at] as MapSpec).valueSize <= r.offset) at++;
    const map = maps[at];
    if (map === undefined || r.offset < (starts[at] as number) || r.offset + 8 > (starts[at] as number) + map.valueSize)
      throw file.error(section, r.offset, `relocation against ${symbol.name} is in no struct_ops variable`);
    const key = r.offset - (starts[at] as number);
    const member = functionPointer(btf, map.btfValueTypeId, key);
    if (!member)
      throw file.error(section, r.offset, `${map.name}: no function pointer at offset ${key} for ${symbol.name}`);
    const target = programAt(symbol.section, Number(symbol.value));
    if (target === undefined)
      throw file.error(section, r.offset, `${map.name}: ${symbol.name} is no program of this object`);
    slots.get(starts[at] as number)?.push({ key, target });
  }
  return maps;
}

function functionPointer(btf: Btf, struct: number, offset: number): boolean {
  const type = btf.typeById(struct);
  if (type.kind !== "struct") return false;
  const member = type.members.find((m) => m.bitOffset === offset * 8);
  if (member === undefined) return false;
  const pointer = resolve(btf, member.type);
  return pointer.kind === "ptr" && resolve(btf, pointer.type).kind === "func_proto";
}
