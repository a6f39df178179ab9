/**
 * Reading BPF objects: what clang, gcc-bpf and bpfkit make, to a `CollectionSpec`.
 *
 * The conventions are libbpf's: SEC() names, `.maps`, `.rodata/.data/.bss`, `.kconfig`, `.ksyms`,
 * `.struct_ops`, `license`, `version`. Source: Documentation/bpf/libbpf/program_types.rst,
 * tools/lib/bpf/libbpf.c (bpf_object__elf_collect).
 */
import { ByteReader } from "../core/bytes.ts";
import type { Btf } from "../btf/btf.ts";
import { BTF_KIND } from "../btf/kinds.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { readDataMaps, readKconfigMap } from "./data-maps.ts";
import { type FunctionIndex, isSubprogram, type ObjectFunction, readFunctions } from "./functions-of-object.ts";
import { Linker } from "./link.ts";
import { isMapInMap, type PlacedMap, readMapDefs } from "./map-defs.ts";
import { ObjectFile } from "./object-file.ts";
import { describeSection } from "./prog-section.ts";
import type { ElfSection } from "./reader.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "./spec.ts";
import { readStructOps } from "./struct-ops.ts";

const ARENA_SECTION = ".addr_space.1";

/**
 * Reads a BPF object of either byte order.
 *
 * @param bytes the ELF file
 * @param options `name`: of the collection, for errors and for the names of data maps ("name.rodata");
 *   a directory and ".o" are dropped
 * @throws DecodeError when the object is malformed or uses what is not supported, with section and offset
 *
 * @example
 * ```ts
 * import { readObject } from "bpfkit/elf";
 * import { readFileSync } from "node:fs";
 * const spec = readObject(readFileSync("execsnoop.bpf.o"), { name: "execsnoop.bpf.o" });
 * for (const p of spec.progs) console.log(p.section, p.name, p.insns.length);
 * ```
 */
export function readObject(bytes: Uint8Array, options: { name?: string } = {}): CollectionSpec {
  const name = collectionName(options.name ?? "object");
  const file = new ObjectFile(bytes, name);
  const { elf } = file;
  const legacy = elf.section("maps");
  if (legacy !== undefined) {
    throw file.error(
      legacy,
      0,
      'map definitions in a section named maps are a format that libbpf 1.0 dropped: define them in .maps (SEC(".maps") with __uint and __type)',
    );
  }
  const functions = readFunctions(file);
  const mapsSection = elf.section(".maps");
  const defs = mapsSection === undefined || mapsSection.size === 0 ? [] : readMapDefs(file, mapsSection);
  const userMaps = withArenaData(file, mapsSection === undefined ? [] : withSlots(file, mapsSection, defs, functions));
  const dataMaps = readDataMaps(file);
  const kconfig = readKconfigMap(file);
  const structOps = readStructOps(file, (section, offset) => {
    const f = offset % 8 === 0 ? functions.at(section, offset / 8) : undefined;
    return f === undefined || isSubprogram(f) ? undefined : f.name;
  });

  const bySection = new Map(dataMaps.map((m) => [m.section.index, m.map]));
  const arenaSection = elf.section(ARENA_SECTION);
  const arena = userMaps.find((m) => m.type === BPF_MAP_TYPE.ARENA);
  if (arenaSection !== undefined && arena !== undefined) bySection.set(arenaSection.index, arena);
  const linker = new Linker(file, functions, {
    mapAt: new Map(defs.map((d, i) => [d.offset, userMaps[i] as MapSpec])),
    mapsSection: mapsSection?.index,
    dataMaps: bySection,
    kconfig,
    ksyms: ksyms(file.btf),
  });
  const callbacks = exceptionCallbacks(file.btf);
  const subprograms = new Map(functions.all.filter(isSubprogram).map((f) => [f.name, f]));
  const progs = functions.all
    .filter((f) => !isSubprogram(f))
    .map((f) => program(file, f, linker, subprograms, callbacks));
  return {
    name,
    endian: elf.endian,
    license: file.text("license"),
    kernelVersion: version(file),
    btf: file.btf?.bytes,
    maps: [...userMaps, ...dataMaps.map((m) => m.map), ...(kconfig === undefined ? [] : [kconfig]), ...structOps],
    progs,
    sources: new Map(),
  };
}

/** "dir/probe.bpf.o" → "probe": as libbpf names an object, up to the first dot. */
function collectionName(name: string): string {
  const base = name.slice(name.lastIndexOf("/") + 1);
  const dot = base.indexOf(".");
  return dot > 0 ? base.slice(0, dot) : base;
}

function version(file: ObjectFile): number {
  const section = file.elf.section("version");
  if (section === undefined) return 0;
  const data = file.elf.data(section);
  if (data.length !== 4) throw file.error(section, 0, `expected a version of 4 bytes, got ${data.length}`);
  return new ByteReader(data, { endian: file.elf.endian, what: file.elf.what, base: section.offset }).u32("version");
}

/** FUNCs and VARs of `.ksyms` by name. */
function ksyms(btf: Btf | undefined): Map<string, number> {
  const out = new Map<string, number>();
  for (const v of btf?.findByName(".ksyms", "datasec")?.vars ?? []) out.set((btf as Btf).nameOf(v.type), v.type);
  return out;
}

/** Fills `initialSlots` from the relocations of `.maps`. */
function withSlots(
  file: ObjectFile,
  section: ElfSection,
  defs: readonly PlacedMap[],
  functions: FunctionIndex,
): MapSpec[] {
  const slots = defs.map((): { key: number; target: string }[] => []);
  const byOffset = new Map(defs.map((d) => [d.offset, d]));
  const ends = defs.map((d) => d.offset + d.size);
  let i = 0;
  for (const r of file.relocations(section)) {
    const symbol = file.symbol(section, r);
    // Both are in ascending order.
    while (i < defs.length - 1 && (ends[i] as number) <= r.offset) i++;
    const def = defs[i];
    if (
      def === undefined ||
      def.values === undefined ||
      r.offset < def.values ||
      r.offset + 8 > def.offset + def.size ||
      (r.offset - def.values) % 8 !== 0
    ) {
      throw file.error(section, r.offset, `relocation against ${symbol.name} is in no map's values`);
    }
    const { map } = def;
    let target: string | undefined;
    if (isMapInMap(map.type)) {
      target = symbol.section === section.index ? byOffset.get(Number(symbol.value))?.map.name : undefined;
      if (target === undefined) throw file.error(section, r.offset, `${map.name}: ${symbol.name} is no map`);
      if (map.type === BPF_MAP_TYPE.HASH_OF_MAPS && map.keySize !== 4) {
        throw file.error(section, r.offset, `${map.name}: initial values need keys of 4 bytes, not ${map.keySize}`);
      }
    } else {
      const f = Number(symbol.value) % 8 === 0 ? functions.at(symbol.section, Number(symbol.value) / 8) : undefined;
      if (f === undefined || isSubprogram(f) || f.start * 8 !== Number(symbol.value)) {
        throw file.error(section, r.offset, `${map.name}: ${symbol.name} is no program`);
      }
      target = f.name;
    }
    (slots[i] as { key: number; target: string }[]).push({ key: (r.offset - def.values) / 8, target });
  }
  return defs.map((d, i) =>
    (slots[i] as unknown[]).length === 0 ? d.map : { ...d.map, initialSlots: slots[i] as MapSpec["initialSlots"] },
  );
}

/** Globals of address space 1 are the first pages of the object's one arena. */
function withArenaData(file: ObjectFile, maps: MapSpec[]): MapSpec[] {
  const section = file.elf.section(ARENA_SECTION);
  const arenas = maps.filter((m) => m.type === BPF_MAP_TYPE.ARENA);
  if (arenas.length > 1) {
    const at = file.elf.section(".maps") as ElfSection;
    throw file.error(at, 0, `an object can have one arena, this one has ${arenas.map((m) => m.name).join(" and ")}`);
  }
  if (section === undefined || section.size === 0) return maps;
  const sec = file.btf?.findByName(ARENA_SECTION, "datasec");
  const data = file.elf.data(section);
  if (arenas[0] === undefined) throw file.error(section, 0, "global variables in an arena, but no arena map");
  const variables = (sec?.vars ?? []).flatMap((v) => {
    const type = file.btf?.typeById(v.type);
    return type?.kind === "var" && v.offset + v.size <= data.length
      ? [{ name: type.name, offset: v.offset, size: v.size, btfTypeId: type.type }]
      : [];
  });
  return maps.map((m) => (m === arenas[0] ? { ...m, data, variables } : m));
}

/** Tags "exception_callback:NAME" by program name; undefined where a program has several. */
function exceptionCallbacks(btf: Btf | undefined): Map<string, string | undefined> {
  const out = new Map<string, string | undefined>();
  if (btf === undefined) return out;
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kindOf(id) !== BTF_KIND.DECL_TAG) continue;
    const tag = btf.typeById(id);
    if (tag.kind !== "decl_tag" || tag.componentIdx !== -1 || !tag.name.startsWith("exception_callback:")) continue;
    const program = btf.nameOf(tag.type);
    out.set(program, out.has(program) ? undefined : tag.name.slice("exception_callback:".length));
  }
  return out;
}

function program(
  file: ObjectFile,
  f: ObjectFunction,
  linker: Linker,
  subprograms: ReadonlyMap<string, ObjectFunction>,
  callbacks: ReadonlyMap<string, string | undefined>,
): ProgSpec {
  const callback = callbacks.get(f.name);
  const extra = callback === undefined ? undefined : subprograms.get(callback);
  if (callback !== undefined && extra === undefined) {
    throw file.error(
      f.section,
      f.start * 8,
      `program ${f.name} names ${callback} as its exception callback, which the object lacks`,
    );
  }
  const optional = f.section.name.startsWith("?");
  const section = optional ? f.section.name.slice(1) : f.section.name;
  return { name: f.name, section, ...describeSection(section), autoload: !optional, ...linker.link(f, extra) };
}
