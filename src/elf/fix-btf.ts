/**
 * What a compiler cannot know when it writes BTF: how large each section became and where its variables
 * lie. Compilers leave zeros there; the symbol table has the answers.
 *
 * Source: Documentation/bpf/btf.rst, BTF_KIND_DATASEC; btf_fixup_datasec and bpf_object__collect_externs
 * of libbpf for what is expected of a loader.
 */
import { alignUp } from "../core/int.ts";
import { Btf } from "../btf/btf.ts";
import { BTF_KIND } from "../btf/kinds.ts";
import { alignOf, sizeOf } from "../btf/layout.ts";
import type { BtfDatasec, BtfType } from "../btf/types.ts";
import { BtfEdit, infoWord } from "./btf-edit.ts";
import { STB, STT, STV } from "./constants.ts";
import type { Elf } from "./reader.ts";
import type { CollectionSpec } from "./spec.ts";
import type { ElfSymbol } from "./symbols.ts";

const VAR_STATIC = 0;
const VAR_GLOBAL = 1;

/** Sections whose variables the kernel has; the object has no bytes for them. */
export const isExternSection = (name: string): boolean => name === ".kconfig" || name === ".ksyms";

/** All DATASECs. */
function datasecs(btf: Btf): BtfDatasec[] {
  const out: BtfDatasec[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kindOf(id) !== BTF_KIND.DATASEC) continue;
    const type = btf.typeById(id);
    if (type.kind === "datasec") out.push(type);
  }
  return out;
}

/**
 * `btf` with sizes and offsets in its DATASECs, variables and functions of hidden symbols made static,
 * `.kconfig` laid out as an array value. The same `Btf` when nothing had to change.
 *
 * @throws DecodeError when a DATASEC has no section or a variable no symbol
 */
export function fixBtf(btf: Btf, elf: Elf, symbols: readonly ElfSymbol[]): Btf {
  const edit = new BtfEdit(btf, btf.endian);
  const variables = new Map<string, ElfSymbol>();
  const hidden = new Set<string>();
  for (const s of symbols) {
    const global = s.bind === STB.GLOBAL || s.bind === STB.WEAK;
    if (!global) continue;
    if (s.type === STT.OBJECT && !variables.has(s.name)) variables.set(s.name, s);
    if (s.type === STT.FUNC && (s.visibility === STV.HIDDEN || s.visibility === STV.INTERNAL)) hidden.add(s.name);
  }
  for (const sec of datasecs(btf)) {
    if (sec.name === ".kconfig") layOutKconfig(btf, edit, sec, symbols);
    if (!isExternSection(sec.name)) fixDatasec(btf, edit, sec, elf, variables);
  }
  for (let id = btf.firstId; id < btf.typeCount && hidden.size > 0; id++) {
    if (btf.kindOf(id) !== BTF_KIND.FUNC || !hidden.has(btf.nameOf(id))) continue;
    // The linkage is where other kinds have vlen.
    if (((btf.words[btf.wordOf(id) + 1] as number) & 0xffff) === VAR_GLOBAL)
      edit.words(id)[1] = infoWord(BTF_KIND.FUNC, VAR_STATIC);
  }
  const bytes = edit.finish();
  return bytes === btf.bytes ? btf : Btf.parse(bytes, { endian: btf.endian, what: btf.what });
}

function fixDatasec(btf: Btf, edit: BtfEdit, sec: BtfDatasec, elf: Elf, symbols: ReadonlyMap<string, ElfSymbol>): void {
  const section = elf.section(sec.name);
  let size = sec.size;
  if (size === 0) {
    if (section === undefined || section.size === 0) {
      throw elf.error(
        `BTF has variables in section ${sec.name}, which the object lacks`,
        elf.section(".BTF")?.offset ?? 0,
        ".BTF",
        sec.name,
      );
    }
    size = section.size;
  }
  let changed = size !== sec.size;
  const vars = sec.vars.map((v) => {
    const type = btf.typeById(v.type);
    if (type.kind !== "var") return v;
    if (type.linkage !== "global") return v;
    const symbol = symbols.get(type.name);
    if (symbol === undefined) {
      throw elf.error(
        `BTF has a variable ${type.name} in ${sec.name}, for which there is no symbol`,
        elf.section(".BTF")?.offset ?? 0,
        ".BTF",
        sec.name,
      );
    }
    if (symbol.visibility === STV.HIDDEN || symbol.visibility === STV.INTERNAL) edit.words(v.type)[3] = VAR_STATIC;
    // Static linkers fill offsets in, not all of them rightly: the symbol is what the code refers to.
    const offset = symbol.section === section?.index ? Number(BigInt.asUintN(32, symbol.value)) : v.offset;
    if (offset !== v.offset) changed = true;
    return { ...v, offset };
  });
  changed ||= vars.some((v, i) => i > 0 && v.offset < (vars[i - 1] as typeof v).offset);
  if (changed) edit.replace(sec.id, edit.datasec(sec.name, size, vars));
}

/** Largest alignment first, then smallest size, then name: the order in which they take no padding between them. */
function layOutKconfig(btf: Btf, edit: BtfEdit, sec: BtfDatasec, symbols: readonly ElfSymbol[]): void {
  const used = new Set(symbols.map((s) => s.name));
  const vars = sec.vars.flatMap((v) => {
    const type = btf.typeById(v.type);
    return type.kind === "var" && used.has(type.name)
      ? [{ ...v, type, size: sizeOf(btf, type.type), align: alignOf(btf, type.type) }]
      : [];
  });
  vars.sort(
    (a, b) =>
      b.align - a.align || a.size - b.size || (a.type.name < b.type.name ? -1 : a.type.name > b.type.name ? 1 : 0),
  );
  let end = 0;
  const placed = vars.map((v) => {
    const offset = alignUp(end, v.align);
    end = offset + v.size;
    return { type: v.type.id, offset, size: v.size };
  });
  const same =
    sec.size === end &&
    placed.length === sec.vars.length &&
    placed.every((p, i) => p.offset === sec.vars[i]?.offset && p.type === sec.vars[i]?.type);
  if (same) return;
  edit.replace(sec.id, edit.datasec(sec.name, end, placed));
}

/**
 * The collection's BTF as BPF_BTF_LOAD takes it: the kernel knows no extern variables and functions, so
 * those of `.ksyms` become plain `int` variables, functions get the names of parameters that they lack
 * and a dummy variable stands for them. Type ids stay. Undefined when the collection has no BTF.
 *
 * @throws DecodeError when the BTF is malformed
 */
export function prepareBtf(spec: Pick<CollectionSpec, "btf" | "name">): Uint8Array | undefined {
  return preparedBtf(spec)?.bytes;
}

/** {@link prepareBtf}, parsed. */
export function preparedBtf(spec: Pick<CollectionSpec, "btf" | "name">): Btf | undefined {
  if (spec.btf === undefined) return undefined;
  const btf = Btf.parse(spec.btf, { what: `${spec.name} BTF` });
  // Most need no change, and an edit copies everything.
  let editing: BtfEdit | undefined;
  const edit = (): BtfEdit => (editing ??= new BtfEdit(btf, btf.endian));
  for (const sec of datasecs(btf)) {
    for (const v of sec.vars) {
      const type = btf.typeById(v.type);
      // The kernel knows no extern variables: by now they have their place in `.kconfig`.
      if (type.kind === "var" && type.linkage === "extern" && sec.name !== ".ksyms")
        edit().words(type.id)[3] = VAR_GLOBAL;
    }
    if (sec.name === ".ksyms") allocateKsyms(btf, edit(), sec);
  }
  const bytes = editing?.finish() ?? btf.bytes;
  return bytes === btf.bytes ? btf : Btf.parse(bytes, { endian: btf.endian, what: btf.what });
}

function allocateKsyms(btf: Btf, edit: BtfEdit, sec: BtfDatasec): void {
  const int = intType(btf) ?? edit.add(edit.addString("int"), infoWord(BTF_KIND.INT, 0), 4, (1 << 24) | 32);
  let dummy = 0;
  const vars = sec.vars.map((v, i) => {
    const type: BtfType = btf.typeById(v.type);
    const at = { offset: i * 4, size: 4 };
    if (type.kind === "func") {
      const name = edit.addString("dummy_ksym");
      dummy ||= edit.add(name, infoWord(BTF_KIND.VAR, 0), int, VAR_GLOBAL);
      edit.words(type.id)[1] = infoWord(BTF_KIND.FUNC, VAR_GLOBAL);
      const proto = btf.typeById(type.type);
      if (proto.kind === "func_proto") {
        const words = edit.words(proto.id);
        proto.params.forEach((p, k) => {
          if (p.type !== 0 && p.name === "") words[3 + k * 2] = name;
        });
      }
      return { type: dummy, ...at };
    }
    if (type.kind === "var") {
      const words = edit.words(type.id);
      words[2] = int;
      words[3] = VAR_GLOBAL;
    }
    return { type: v.type, ...at };
  });
  edit.replace(sec.id, edit.datasec(sec.name, vars.length * 4, vars));
}

function intType(btf: Btf): number | undefined {
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kindOf(id) !== BTF_KIND.INT) continue;
    const type = btf.typeById(id);
    if (type.kind === "int" && type.bits === 32) return id;
  }
  return undefined;
}
