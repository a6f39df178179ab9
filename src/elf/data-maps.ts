/** Global variables: each data section becomes an array map of one entry. */
import type { Btf } from "../btf/btf.ts";
import { sizeOf } from "../btf/layout.ts";
import type { BtfDatasec } from "../btf/types.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { SHF, SHT, STT } from "./constants.ts";
import { isExtern, type ObjectFile } from "./object-file.ts";
import type { ElfSection } from "./reader.ts";
import type { MapSpec, VariableSpec } from "./spec.ts";

/** BPF_OBJ_NAME_LEN without the NUL. */
const NAME_MAX = 15;

/** What kind of data a section holds; undefined for any other section. */
export function dataKind(section: string): "data" | "rodata" | "bss" | "kconfig" | undefined {
  const m = /^\.(data|rodata|bss)(?:\.|$)/.exec(section);
  if (m !== null) return m[1] as "data" | "rodata" | "bss";
  return section === ".kconfig" ? "kconfig" : undefined;
}

/**
 * Name of the map of a data section, as libbpf makes it: up to 8 characters of the object's name, then
 * the section's; a section with a name of its own (`.data.foo`) stands alone. At most 15 characters.
 */
export function dataMapName(object: string, section: string): string {
  const suffix = Math.min(Math.max(7, section.length), NAME_MAX);
  const prefix = section.indexOf(".", 1) >= 0 ? 0 : NAME_MAX - suffix;
  return (object.slice(0, prefix) + section.slice(0, suffix)).replaceAll(/[^A-Za-z0-9_.]/g, "_");
}

/** Whether `section` is one of global variables, with any bytes. */
export function isDataSection(section: ElfSection): boolean {
  if (section.size === 0 || (section.flags & SHF.EXECINSTR) !== 0) return false;
  const kind = dataKind(section.name);
  if (kind === "bss") return section.type === SHT.NOBITS;
  return (kind === "data" || kind === "rodata") && section.type === SHT.PROGBITS;
}

/** The maps of `.data*`, `.rodata*` and `.bss*`, in order of section. */
export function readDataMaps(file: ObjectFile): { section: ElfSection; map: MapSpec }[] {
  return file.elf.sections.filter(isDataSection).map((section) => {
    if (section.size > 0xffff_ffff)
      throw file.error(section, 0, `${section.size} bytes are more than a map value can have`);
    const sec = file.btf?.findByName(section.name, "datasec");
    const data = dataKind(section.name) === "bss" ? undefined : file.elf.data(section);
    return { section, map: dataMap(file, section.name, section.size, sec, data) };
  });
}

function dataMap(
  file: ObjectFile,
  section: string,
  size: number,
  sec: BtfDatasec | undefined,
  data: Uint8Array | undefined,
): MapSpec {
  const { btf } = file;
  const readonly = section.startsWith(".rodata") || section === ".kconfig";
  const visible = btf !== undefined && sec !== undefined && hasVisible(btf, sec);
  return {
    name: dataMapName(file.name, section),
    type: BPF_MAP_TYPE.ARRAY,
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags: (readonly ? BPF_F.RDONLY_PROG : 0) | (visible ? BPF_F.MMAPABLE : 0),
    mapExtra: 0n,
    numaNode: undefined,
    btfKeyTypeId: 0,
    btfValueTypeId: sec?.id ?? 0,
    structOps: undefined,
    inner: undefined,
    initialSlots: [],
    data,
    frozen: readonly,
    pinning: "none",
    variables: variables(file, section, size, sec),
    section,
  };
}

/** A variable that is not static may be shared with user space by mapping. */
function hasVisible(btf: Btf, sec: BtfDatasec): boolean {
  return sec.vars.some((v) => {
    const type = btf.typeById(v.type);
    return type.kind === "var" && type.linkage !== "static";
  });
}

function variables(file: ObjectFile, section: string, size: number, sec: BtfDatasec | undefined): VariableSpec[] {
  const { btf } = file;
  const out: VariableSpec[] = [];
  if (btf !== undefined && sec !== undefined) {
    for (const v of sec.vars) {
      const type = btf.typeById(v.type);
      if (type.kind !== "var") continue;
      if (v.offset + v.size > size) {
        const at = file.elf.section(".BTF") as ElfSection;
        throw file.error(
          at,
          0,
          `variable ${type.name} at ${v.offset}+${v.size} is outside the ${size} bytes of ${section}`,
        );
      }
      out.push({ name: type.name, offset: v.offset, size: v.size, btfTypeId: type.type });
    }
    return out;
  }
  // Without BTF the symbols still say where each variable is.
  const index = file.elf.section(section)?.index;
  for (const s of file.symbols) {
    if (s.section !== index || s.type !== STT.OBJECT) continue;
    const offset = Number(s.value);
    if (offset + Number(s.size) <= size) out.push({ name: s.name, offset, size: Number(s.size), btfTypeId: 0 });
  }
  return out.sort((a, b) => a.offset - b.offset);
}

/** The map of `.kconfig` externs; undefined when the object has none. The loader fills its value. */
export function readKconfigMap(file: ObjectFile): MapSpec | undefined {
  const sec = file.btf?.findByName(".kconfig", "datasec");
  if (file.btf === undefined || sec === undefined || sec.vars.length === 0) return undefined;
  const weak = new Set(file.symbols.filter((s) => isExtern(s) && s.bind === 2).map((s) => s.name));
  const map = dataMap(file, ".kconfig", sizeOf(file.btf, sec.id), sec, undefined);
  return { ...map, variables: map.variables.map((v) => (weak.has(v.name) ? { ...v, weak: true } : v)) };
}

/** Variable in `.bss` that counts the samples for which the ring buffer `map` had no room. */
export function lostCounterName(map: string): string {
  return `__lost_${map}`;
}
