/**
 * Writing BPF objects: a `CollectionSpec` as an ELF object that libbpf, bpftool and `readObject` load.
 * The layout is clang's: subprograms in `.text`, programs in sections by their SEC() name, maps in `.maps`.
 */
import { encodeInsns } from "../asm/encode.ts";
import type { Insn } from "../asm/insn.ts";
import { BPF_PSEUDO_CALL } from "../asm/opcode.ts";
import { Btf } from "../btf/btf.ts";
import { type BtfExt, writeBtfExt } from "../btf/ext.ts";
import { BTF_KIND } from "../btf/kinds.ts";
import { ByteWriter, encodeUtf8 } from "../core/bytes.ts";
import { ArgumentError } from "../core/errors.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_MAP_TYPE } from "../uapi/map-types.ts";
import { BtfEdit, infoWord } from "./btf-edit.ts";
import { R_BPF, SHF, SHN, SHT, STB, STT } from "./constants.ts";
import { dataKind } from "./data-maps.ts";
import { checkKind, MapTypes } from "./map-btf.ts";
import type { CollectionSpec, InsnRef, MapSpec } from "./spec.ts";
import { sectionOf, zeros } from "./map-section.ts";
import { type PlacedFunction, type SplitFunction, splitPrograms } from "./split.ts";
import { ElfWriter } from "./writer.ts";

const TEXT = ".text";
const ARENA_SECTION = ".addr_space.1";
const LINKAGE_EXTERN = 2;

/**
 * A BPF object in the collection's byte order. `bpftool prog loadall` and libbpf load it; reading it
 * again gives the same collection, provided that
 * - programs of one section follow one another, and subprograms come in the order in which a depth-first
 *   walk over the calls meets them;
 * - maps come as `readObject` gives them: those of `.maps`, then data sections, `.kconfig`, struct_ops;
 * - data maps have the names and flags that follow from their section and variables (`dataMapName`,
 *   BPF_F_MMAPABLE if any variable is not static): an object has no place for others.
 *
 * Variables, externs and map definitions that the BTF lacks are added to it; type ids stay.
 *
 * @throws ArgumentError when the collection contradicts itself (an unknown map, a slot outside a program, …)
 * @throws DecodeError when its BTF is malformed
 *
 * @example
 * ```ts
 * import { readObject, writeObject } from "bpfkit/elf";
 * import { readFileSync, writeFileSync } from "node:fs";
 * const spec = readObject(readFileSync("probe.o"), { name: "probe" });
 * writeFileSync("copy.o", writeObject({ ...spec, progs: spec.progs.filter((p) => p.name === "on_exec") }));
 * ```
 */
export function writeObject(spec: CollectionSpec): Uint8Array {
  return new ObjectWriter(spec).finish();
}

class ObjectWriter {
  readonly #spec: CollectionSpec;
  readonly #elf: ElfWriter;
  readonly #btf: Btf | undefined;
  readonly #edit: BtfEdit;
  readonly #types: MapTypes;
  readonly #maps: ReadonlyMap<string, MapSpec>;
  readonly #placed = new Map<SplitFunction, PlacedFunction>();
  readonly #programs = new Map<string, PlacedFunction>();
  /** Symbols of maps by name, section indexes of data maps. */
  readonly #mapSymbols = new Map<string, number>();
  readonly #dataSections = new Map<string, number>();
  readonly #externs = new Map<string, number>();
  readonly #kconfig = new Map<number, string>();
  readonly #sections = new Map<string, number>();

  constructor(spec: CollectionSpec) {
    this.#spec = spec;
    this.#maps = new Map(spec.maps.map((m) => [m.name, m]));
    this.#elf = new ElfWriter({ endian: spec.endian });
    this.#btf = spec.btf === undefined ? undefined : Btf.parse(spec.btf, { what: `${spec.name} BTF` });
    this.#edit = new BtfEdit(this.#btf, spec.endian);
    this.#types = new MapTypes(this.#edit, this.#btf);
  }

  finish(): Uint8Array {
    const { entries, subprograms } = splitPrograms(this.#spec.progs);
    this.#placeCode(entries, subprograms);
    this.#writeDataMaps();
    this.#writeArenas();
    this.#writeMaps();
    this.#writeStructOps();
    this.#writeStrings();
    this.#writeExterns();
    this.#relocate();
    this.#symbolsOfVariables();
    this.#writeBtf();
    return this.#elf.finish();
  }

  #section(name: string, type: number, flags: number, align: number, data: Uint8Array | number): number {
    const index = this.#elf.addSection({ name, type, flags, align, data });
    this.#sections.set(name, index);
    return index;
  }

  // Code

  #placeCode(entries: readonly SplitFunction[], subprograms: readonly SplitFunction[]): void {
    const groups = new Map<string, SplitFunction[]>();
    if (subprograms.length > 0) groups.set(TEXT, [...subprograms]);
    for (const f of entries) {
      const prog = f.entryOf as NonNullable<SplitFunction["entryOf"]>;
      if (prog.section === "" || prog.section === TEXT || prog.section.includes("\0")) {
        throw new ArgumentError(
          `progs.${prog.name}.section`,
          `a program needs a SEC() name, got ${JSON.stringify(prog.section)}`,
        );
      }
      const name = prog.autoload ? prog.section : `?${prog.section}`;
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [f]);
      else group.push(f);
    }
    const globals = new Set<string>();
    const sections: { functions: readonly SplitFunction[]; code: Uint8Array }[] = [];
    for (const [name, functions] of groups) {
      const code = new Uint8Array(functions.reduce((n, f) => n + f.insns.length * 8, 0));
      sections.push({ functions, code });
      const section = this.#section(name, SHT.PROGBITS, SHF.ALLOC | SHF.EXECINSTR, 8, code);
      let slot = 0;
      for (const f of functions) {
        // Two global symbols of one name cannot be; a subprogram then becomes local.
        const global = f.entryOf !== undefined || (this.#isGlobal(f) && !globals.has(f.name));
        if (f.entryOf !== undefined && this.#programs.has(f.name))
          throw new ArgumentError(`progs.${f.name}`, "two programs have this name");
        if (global) globals.add(f.name);
        const symbol = this.#elf.addSymbol({
          name: f.name,
          value: slot * 8,
          size: f.insns.length * 8,
          type: STT.FUNC,
          bind: global ? STB.GLOBAL : STB.LOCAL,
          section,
        });
        const placed: PlacedFunction = { function: f, section, sectionName: name, slot, symbol, global };
        this.#placed.set(f, placed);
        if (f.entryOf !== undefined) this.#programs.set(f.name, placed);
        slot += f.insns.length;
      }
    }
    // Only now is every function's place known, which calls of local functions have in them.
    for (const { functions, code } of sections) {
      for (const f of functions)
        code.set(encodeInsns(this.#unlinked(f), this.#spec.endian), (this.#placed.get(f) as PlacedFunction).slot * 8);
    }
  }

  #isGlobal(f: SplitFunction): boolean {
    const type = f.func === undefined ? undefined : this.#btf?.typeById(f.func.typeId);
    return type?.kind === "func" && type.linkage === "global";
  }

  /** The instructions as a compiler emits them, with what relocations refer to taken out. */
  #unlinked(f: SplitFunction): Insn[] {
    const insns = [...f.insns];
    for (const { slot, ref, callee } of f.refs) {
      const insn = insns[slot] as Insn;
      const call = ref.kind === "subprog" || ref.kind === "kfunc";
      // Where the relocation is against a section, `imm` is the place in it.
      insns[slot] = { ...insn, src: call ? BPF_PSEUDO_CALL : 0, imm: this.#addend(ref, callee) };
      const high = insns[slot + 1];
      if (!call && high !== undefined) insns[slot + 1] = { ...high, imm: 0 };
    }
    return insns;
  }

  #addend(ref: InsnRef, callee: SplitFunction | undefined): number {
    if (ref.kind === "kfunc") return -1;
    if (ref.kind === "map-value") return dataKind(sectionOf(this.#map(ref.map))) === "kconfig" ? 0 : ref.offset | 0;
    const placed = callee === undefined ? undefined : this.#placed.get(callee);
    if (placed === undefined || placed.global) return ref.kind === "subprog" ? -1 : 0;
    return ref.kind === "subprog" ? placed.slot - 1 : placed.slot * 8;
  }

  #relocate(): void {
    for (const { function: f, section, slot } of this.#placed.values()) {
      for (const { slot: at, ref, callee } of f.refs) {
        const offset = (slot + at) * 8;
        const type = ref.kind === "kfunc" || ref.kind === "subprog" ? R_BPF.R64_32 : R_BPF.R64_64;
        this.#elf.addRelocation(section, offset, type, this.#relocationTarget(f, ref, callee));
      }
    }
  }

  #relocationTarget(f: SplitFunction, ref: InsnRef, callee: SplitFunction | undefined): number {
    switch (ref.kind) {
      case "subprog":
      case "func": {
        const placed = this.#placed.get(callee as SplitFunction) as PlacedFunction;
        return placed.global ? placed.symbol : this.#elf.sectionSymbol(placed.section);
      }
      case "kfunc":
      case "ksym":
        return this.#externs.get(ref.name) as number;
      case "map": {
        const symbol = this.#mapSymbols.get(ref.map);
        if (symbol !== undefined) return symbol;
        throw new ArgumentError(
          `progs.${f.name}.refs`,
          `${this.#map(ref.map).name} is the map of a data section: refer to a value in it`,
        );
      }
      case "map-value": {
        const section = this.#dataSections.get(ref.map);
        if (section !== undefined) return this.#elf.sectionSymbol(section);
        const extern = this.#kconfig.get(ref.offset);
        if (dataKind(sectionOf(this.#map(ref.map))) === "kconfig" && extern !== undefined)
          return this.#externs.get(extern) as number;
        throw new ArgumentError(
          `progs.${f.name}.refs`,
          `map ${ref.map} has no bytes in the object that offset ${ref.offset} could be of`,
        );
      }
    }
  }

  #map(name: string): MapSpec {
    const map = this.#maps.get(name);
    if (map === undefined) throw new ArgumentError("maps", `there is no map ${name}`);
    return map;
  }

  // Maps

  #writeDataMaps(): void {
    for (const map of this.#spec.maps) {
      const name = sectionOf(map);
      const kind = dataKind(name);
      if (kind === undefined || kind === "kconfig") continue;
      if (this.#sections.has(name)) throw new ArgumentError(`maps.${map.name}`, `a second map of section ${name}`);
      const flags = SHF.ALLOC | (kind === "rodata" ? 0 : SHF.WRITE);
      const section =
        kind === "bss"
          ? this.#section(name, SHT.NOBITS, flags, 8, map.valueSize)
          : this.#section(name, SHT.PROGBITS, flags, 8, this.#bytes(map, map.valueSize));
      this.#dataSections.set(map.name, section);
      this.#ensureDatasec(name, map, (map.flags & BPF_F.MMAPABLE) !== 0 ? "global" : "static", map.valueSize);
    }
  }

  #bytes(map: MapSpec, size: number): Uint8Array {
    const out = zeros(size);
    if (map.data !== undefined && map.data.length > size) {
      throw new ArgumentError(`maps.${map.name}.data`, `${map.data.length} bytes do not fit a value of ${size}`);
    }
    if (map.data !== undefined) out.set(map.data);
    return out;
  }

  #writeArenas(): void {
    for (const map of this.#spec.maps) {
      if (map.type !== BPF_MAP_TYPE.ARENA || map.data === undefined) continue;
      this.#dataSections.set(map.name, this.#section(ARENA_SECTION, SHT.PROGBITS, SHF.ALLOC | SHF.WRITE, 8, map.data));
      this.#ensureDatasec(ARENA_SECTION, map, "global", map.data.length);
    }
  }

  /** Variables of a section, when the BTF does not have them already. In an object without BTF they are symbols only. */
  #ensureDatasec(name: string, map: MapSpec, linkage: "static" | "global" | "extern", size: number): void {
    if (map.variables.length === 0 || this.#btf?.findByName(name, "datasec") !== undefined) return;
    const section = this.#sections.get(name);
    if (this.#btf === undefined && section !== undefined) {
      for (const v of map.variables) {
        this.#elf.addSymbol({
          name: v.name,
          value: v.offset,
          size: v.size,
          type: STT.OBJECT,
          bind: STB.GLOBAL,
          section,
        });
      }
      return;
    }
    const vars = map.variables.map((v) => ({
      type: this.#types.variable(
        v.name,
        v.btfTypeId === 0 ? this.#types.array(this.#char(), v.size) : v.btfTypeId,
        linkage,
      ),
      offset: v.offset,
      size: v.size,
    }));
    this.#edit.add(...this.#edit.datasec(name, size, vars));
  }

  #charId = 0;
  #char(): number {
    if (this.#charId === 0)
      this.#charId = this.#edit.add(this.#edit.addString("char"), infoWord(BTF_KIND.INT, 0), 1, (1 << 24) | 8);
    return this.#charId;
  }

  #writeMaps(): void {
    const maps = this.#spec.maps.filter((m) => sectionOf(m) === ".maps");
    const old = this.#btf?.findByName(".maps", "datasec");
    if (maps.length === 0) return;
    let end = 0;
    const laidOut = maps.map((map) => {
      const slots = map.initialSlots.reduce((n, s) => Math.max(n, s.key + 1), 0);
      const known = this.#types.existing(map);
      if (known !== undefined) {
        const place = { map, ...known, offset: end };
        end += Math.ceil(known.size / 8) * 8;
        return place;
      }
      const { type, values } = this.#types.definition(map);
      const place = {
        map,
        variable: this.#types.variable(map.name, type, "global"),
        size: (values ?? (this.#edit.words(type)[2] as number)) + slots * 8,
        values,
        offset: end,
      };
      end += place.size;
      return place;
    });
    const same =
      old !== undefined &&
      old.vars.length === laidOut.length &&
      laidOut.every((l, i) => l.variable === old.vars[i]?.type);
    const places = same ? laidOut.map((l, i) => ({ ...l, offset: old.vars[i]?.offset ?? 0 })) : laidOut;
    const size = places.reduce((n, p) => Math.max(n, p.offset + p.size), 0);
    if (!same) {
      const words = this.#edit.datasec(
        ".maps",
        size,
        places.map((p) => ({ type: p.variable, offset: p.offset, size: p.size })),
      );
      if (old === undefined) this.#edit.add(...words);
      else this.#edit.replace(old.id, words);
    }
    const section = this.#section(".maps", SHT.PROGBITS, SHF.ALLOC | SHF.WRITE, 8, zeros(size));
    for (const p of places) {
      const symbol = this.#elf.addSymbol({
        name: p.map.name,
        value: p.offset,
        size: p.size,
        type: STT.OBJECT,
        bind: STB.GLOBAL,
        section,
      });
      this.#mapSymbols.set(p.map.name, symbol);
    }
    for (const p of places) {
      for (const slot of p.map.initialSlots) {
        const target =
          p.map.type === BPF_MAP_TYPE.PROG_ARRAY
            ? this.#programs.get(slot.target)?.symbol
            : this.#mapSymbols.get(slot.target);
        if (target === undefined)
          throw new ArgumentError(`maps.${p.map.name}.initialSlots`, `there is no ${slot.target}`);
        this.#elf.addRelocation(section, p.offset + (p.values ?? 0) + slot.key * 8, R_BPF.ABS64, target);
      }
    }
  }

  #writeStructOps(): void {
    const groups = new Map<string, MapSpec[]>();
    for (const map of this.#spec.maps) {
      if (map.type !== BPF_MAP_TYPE.STRUCT_OPS) continue;
      const name = (map.autocreate === false ? "?" : "") + sectionOf(map);
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [map]);
      else group.push(map);
    }
    for (const [name, maps] of groups) {
      const old = this.#btf?.findByName(name, "datasec");
      let end = 0;
      const places = maps.map((map) => {
        checkKind(this.#btf, map.btfValueTypeId, "struct", `maps.${map.name}.btfValueTypeId`);
        const known = old?.vars.find((v) => this.#btf?.nameOf(v.type) === map.name);
        const place = {
          map,
          variable: known?.type ?? this.#types.variable(map.name, map.btfValueTypeId, "global"),
          offset: end,
        };
        end += Math.ceil(map.valueSize / 8) * 8;
        return place;
      });
      const same =
        old !== undefined &&
        old.vars.length === places.length &&
        places.every((p, i) => p.variable === old.vars[i]?.type);
      if (same) places.forEach((p, i) => (p.offset = old.vars[i]?.offset ?? 0));
      const size = places.reduce((n, p) => Math.max(n, p.offset + p.map.valueSize), 0);
      if (!same) {
        const words = this.#edit.datasec(
          name,
          size,
          places.map((p) => ({ type: p.variable, offset: p.offset, size: p.map.valueSize })),
        );
        if (old === undefined) this.#edit.add(...words);
        else this.#edit.replace(old.id, words);
      }
      const bytes = zeros(size);
      for (const p of places) bytes.set(this.#bytes(p.map, p.map.valueSize), p.offset);
      const section = this.#section(name, SHT.PROGBITS, SHF.ALLOC | SHF.WRITE, 8, bytes);
      for (const p of places) {
        this.#elf.addSymbol({
          name: p.map.name,
          value: p.offset,
          size: p.map.valueSize,
          type: STT.OBJECT,
          bind: STB.GLOBAL,
          section,
        });
        for (const slot of p.map.initialSlots) {
          const target = this.#programs.get(slot.target);
          if (target === undefined)
            throw new ArgumentError(`maps.${p.map.name}.initialSlots`, `there is no program ${slot.target}`);
          this.#elf.addRelocation(section, p.offset + slot.key, R_BPF.ABS64, target.symbol);
        }
      }
    }
  }

  #writeStrings(): void {
    const { license, kernelVersion, endian } = this.#spec;
    if (license !== "") {
      this.#section("license", SHT.PROGBITS, SHF.ALLOC | SHF.WRITE, 1, encodeUtf8(`${license}\0`));
    }
    if (kernelVersion !== 0) {
      this.#section(
        "version",
        SHT.PROGBITS,
        SHF.ALLOC | SHF.WRITE,
        4,
        new ByteWriter({ endian }).u32(kernelVersion).finish(),
      );
    }
  }

  // Externs

  #writeExterns(): void {
    for (const map of this.#spec.maps) {
      if (dataKind(sectionOf(map)) !== "kconfig") continue;
      this.#ensureDatasec(".kconfig", map, "extern", map.valueSize);
      for (const v of map.variables) {
        this.#kconfig.set(v.offset, v.name);
        this.#extern(v.name, v.weak === true);
      }
    }
    const known = this.#btf?.findByName(".ksyms", "datasec");
    const listed = new Set(known?.vars.map((v) => v.type));
    const vars = [...(known?.vars ?? [])];
    let changed = false;
    for (const prog of this.#spec.progs) {
      for (const ref of prog.refs) {
        if (ref.kind !== "kfunc" && ref.kind !== "ksym") continue;
        if (this.#externs.has(ref.name)) continue;
        this.#extern(ref.name, ref.weak);
        const type = this.#externType(ref.name, ref.kind, ref.kind === "ksym" && !ref.typed, ref.btfTypeId, prog.name);
        if (listed.has(type)) continue;
        listed.add(type);
        vars.push({ type, offset: 0, size: 0 });
        changed = true;
      }
    }
    // Every entry of .ksyms needs its symbol, used or not.
    for (const v of known?.vars ?? []) this.#extern(this.#btf?.nameOf(v.type) ?? "", true);
    if (!changed) return;
    const words = this.#edit.datasec(".ksyms", 0, vars);
    if (known === undefined) this.#edit.add(...words);
    else this.#edit.replace(known.id, words);
  }

  #extern(name: string, weak: boolean): void {
    if (this.#externs.has(name)) return;
    this.#externs.set(
      name,
      this.#elf.addSymbol({
        name,
        value: 0,
        size: 0,
        type: STT.NOTYPE,
        bind: weak ? STB.WEAK : STB.GLOBAL,
        section: SHN.UNDEF,
      }),
    );
  }

  #externType(name: string, kind: "kfunc" | "ksym", untyped: boolean, id: number, prog: string): number {
    const type = this.#btf !== undefined && id > 0 && id < this.#btf.typeCount ? this.#btf.typeById(id) : undefined;
    if (type === undefined && untyped) {
      // `extern const void name __ksym`
      return this.#types.variable(name, this.#edit.add(0, infoWord(BTF_KIND.CONST, 0), 0), "extern");
    }
    if (
      type === undefined ||
      (type.kind !== "func" && (kind === "kfunc" || type.kind !== "var")) ||
      type.name !== name
    ) {
      throw new ArgumentError(
        `progs.${prog}.refs`,
        `${kind} ${name}: btfTypeId ${id} is ${type === undefined ? "no type" : `${type.kind} ${type.name}`}, expected the FUNC${kind === "ksym" ? " or VAR" : ""} of that name`,
      );
    }
    if (type.linkage !== "extern") {
      if (type.kind === "func") this.#edit.words(id)[1] = infoWord(BTF_KIND.FUNC, LINKAGE_EXTERN);
      else this.#edit.words(id)[3] = LINKAGE_EXTERN;
    }
    return id;
  }

  // BTF

  /** libbpf looks for a symbol for every global variable that BTF knows. */
  #symbolsOfVariables(): void {
    const btf = Btf.parse(this.#edit.finish(), { what: `${this.#spec.name} BTF` });
    for (let id = btf.firstId; id < btf.typeCount; id++) {
      if (btf.kindOf(id) !== BTF_KIND.DATASEC) continue;
      const sec = btf.typeById(id);
      if (
        sec.kind !== "datasec" ||
        sec.name === ".maps" ||
        sec.name === ".ksyms" ||
        sec.name === ".kconfig" ||
        /^\??\.struct_ops/.test(sec.name)
      )
        continue;
      const section = this.#sections.get(sec.name);
      if (section === undefined) {
        // Variables of a map that the collection no longer has.
        this.#edit.replace(id, this.#edit.datasec(sec.name, 1, []));
        continue;
      }
      for (const v of sec.vars) {
        const type = btf.typeById(v.type);
        if (type.kind !== "var" || type.linkage === "extern") continue;
        const bind = type.linkage === "static" ? STB.LOCAL : STB.GLOBAL;
        this.#elf.addSymbol({ name: type.name, value: v.offset, size: v.size, type: STT.OBJECT, bind, section });
      }
    }
  }

  #writeBtf(): void {
    const ext = this.#ext();
    const used = ext.funcs.length + ext.lines.length + ext.coreRelos.length > 0;
    if (this.#btf === undefined && this.#edit.nextId === 1) {
      if (used)
        throw new ArgumentError(
          "btf",
          "programs have func_info, line_info or CO-RE relocations, but the collection has no BTF",
        );
      return;
    }
    // Before the BTF is finished: its strings go there.
    const bytes = used ? writeBtfExt(ext, this.#edit, this.#spec.endian) : undefined;
    this.#section(".BTF", SHT.PROGBITS, 0, 4, this.#edit.finish());
    if (bytes !== undefined) this.#section(".BTF.ext", SHT.PROGBITS, 0, 4, bytes);
  }

  #ext(): BtfExt {
    const groups = new Map<string, PlacedFunction[]>();
    for (const p of this.#placed.values()) {
      const group = groups.get(p.sectionName);
      if (group === undefined) groups.set(p.sectionName, [p]);
      else group.push(p);
    }
    const collect = <R>(records: (p: PlacedFunction) => readonly R[]): { section: string; records: R[] }[] =>
      [...groups]
        .map(([section, placed]) => ({ section, records: placed.flatMap((p) => [...records(p)]) }))
        .filter((s) => s.records.length > 0);
    return {
      funcs: collect((p) =>
        p.function.func === undefined ? [] : [{ insnOff: p.slot * 8, typeId: p.function.func.typeId }],
      ),
      lines: collect((p) =>
        p.function.lines.map((l) => ({
          insnOff: (p.slot + l.insn) * 8,
          file: l.file,
          text: l.text,
          line: l.line,
          col: l.col,
        })),
      ),
      coreRelos: collect((p) =>
        p.function.coreRelos.map((c) => ({
          insnOff: (p.slot + c.insn) * 8,
          typeId: c.typeId,
          access: c.access,
          kind: c.kind,
        })),
      ),
    };
  }
}
