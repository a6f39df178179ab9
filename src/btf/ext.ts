/** `.BTF.ext`: func_info, line_info and CO-RE relocations by ELF section. */
import { ByteReader, ByteWriter, type Endian } from "../core/bytes.ts";
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import type { BtfBuilder } from "./builder.ts";
import { BTF_MAGIC, BTF_VERSION } from "./kinds.ts";

/** Records of one kind that belong to one ELF section. */
export interface ExtSection<R> {
  /** ELF section, such as "tp_btf/sched_switch". */
  readonly section: string;
  readonly records: readonly R[];
}
export interface ExtFunc {
  /** Bytes from the start of the ELF section. */
  readonly insnOff: number;
  /** A FUNC. */
  readonly typeId: number;
}
export interface ExtLine {
  /** Bytes from the start of the ELF section. */
  readonly insnOff: number;
  readonly file: string;
  readonly text: string;
  /** From 1; up to 4,194,303. */
  readonly line: number;
  /** From 1; 0 when unknown; up to 1023. */
  readonly col: number;
}
export interface ExtCoreRelo {
  /** Bytes from the start of the ELF section. */
  readonly insnOff: number;
  readonly typeId: number;
  /** "0:1:2" */
  readonly access: string;
  /** 0-12, `bpf_core_relo_kind`. */
  readonly kind: number;
}
export interface BtfExt {
  readonly funcs: readonly ExtSection<ExtFunc>[];
  readonly lines: readonly ExtSection<ExtLine>[];
  readonly coreRelos: readonly ExtSection<ExtCoreRelo>[];
}

const HEADER_BYTES = 24;
const HEADER_WITH_CORE_BYTES = 32;

/** Highest line and column that line_info's packed word holds. */
export const MAX_LINE = 0x3f_ffff;
export const MAX_COL = 0x3ff;

/**
 * Reads a `.BTF.ext` section; strings and type ids are those of `btf`. Records longer
 * than known are read by their `rec_size`, so that newer compilers' objects still open.
 * @throws DecodeError
 */
export function parseBtfExt(bytes: Uint8Array, btf: Btf, options: { what?: string } = {}): BtfExt {
  const what = options.what ?? ".BTF.ext";
  const { endian } = btf;
  const r = new ByteReader(bytes, { endian, what });
  const magic = r.u16("magic");
  if (magic !== BTF_MAGIC)
    throw r.error(`expected magic 0xeb9f (${endian}-endian, as .BTF), got 0x${magic.toString(16)}`, "magic", 0);
  const version = r.u8("version");
  if (version !== BTF_VERSION) throw r.error(`expected version ${BTF_VERSION}, got ${version}`, "version", 2);
  const flags = r.u8("flags");
  if (flags !== 0) throw r.error(`expected no flags, got 0x${flags.toString(16)}`, "flags", 3);
  const headerLength = r.u32("hdr_len");
  if (headerLength < HEADER_BYTES || headerLength > bytes.length) {
    throw r.error(`expected ${HEADER_BYTES} to ${bytes.length}, got ${headerLength}`, "hdr_len", 4);
  }
  const places = (["func_info", "line_info", "core_relo"] as const).map((name, i) => {
    if (i === 2 && headerLength < HEADER_WITH_CORE_BYTES) return { name, offset: 0, length: 0 };
    return { name, offset: r.u32(`${name}_off`), length: r.u32(`${name}_len`) };
  });
  const read = <R>(index: number, size: number, record: (at: ByteReader, path: string[]) => R): ExtSection<R>[] => {
    const place = places[index]!;
    return readSections(r, headerLength, place, size, btf, record);
  };
  const typeId = (at: ByteReader, path: string[]): number => {
    const id = at.u32();
    if (id < btf.typeCount) return id;
    throw new DecodeError(what, `type id ${id} does not exist (there are ${btf.typeCount})`, {
      offset: at.offset - 4,
      path: [...path, "type_id"],
    });
  };
  const text = (at: ByteReader, path: string[], field: string): string => {
    const offset = at.u32();
    const found = btf.stringOrUndefined(offset);
    if (found !== undefined) return found;
    throw new DecodeError(what, `string offset ${offset} is outside .BTF's strings`, {
      offset: at.offset - 4,
      path: [...path, field],
    });
  };
  return {
    funcs: read(0, 8, (at, path) => ({ insnOff: at.u32(), typeId: typeId(at, path) })),
    lines: read(1, 16, (at, path) => {
      const insnOff = at.u32();
      const file = text(at, path, "file_name_off");
      const line = text(at, path, "line_off");
      const packed = at.u32();
      return { insnOff, file, text: line, line: packed >>> 10, col: packed & MAX_COL };
    }),
    coreRelos: read(2, 16, (at, path) => {
      const insnOff = at.u32();
      const id = typeId(at, path);
      const access = text(at, path, "access_str_off");
      const kind = at.u32();
      if (kind > 12) {
        throw new DecodeError(what, `expected a relocation kind from 0 to 12, got ${kind}`, {
          offset: at.offset - 4,
          path: [...path, "kind"],
        });
      }
      return { insnOff, typeId: id, access, kind };
    }),
  };
}

function readSections<R>(
  r: ByteReader,
  headerLength: number,
  place: { name: string; offset: number; length: number },
  minSize: number,
  btf: Btf,
  record: (at: ByteReader, path: string[]) => R,
): ExtSection<R>[] {
  if (place.length === 0) return [];
  const start = headerLength + place.offset;
  const end = start + place.length;
  if (end > r.bytes.length) {
    throw r.error(
      `${place.name} at ${place.offset}+${place.length} ends outside ${r.bytes.length} bytes`,
      `${place.name}_len`,
      8,
    );
  }
  if (start % 4 !== 0) throw r.error(`expected a multiple of 4, got ${place.offset}`, `${place.name}_off`, 8);
  r.seek(start);
  if (place.length < 4)
    throw r.error(`expected a record size of 4 bytes, ${place.length} are left`, `${place.name}.rec_size`);
  const size = r.u32();
  if (size < minSize || size % 4 !== 0) {
    throw r.error(`expected a multiple of 4 from ${minSize}, got ${size}`, `${place.name}.rec_size`, r.offset - 4);
  }
  const sections: ExtSection<R>[] = [];
  while (r.offset < end) {
    const path = [`${place.name}[${sections.length}]`];
    if (end - r.offset < 8) throw r.error(`expected a section header of 8 bytes, ${end - r.offset} are left`, path[0]);
    const nameAt = r.u32();
    const section = btf.stringOrUndefined(nameAt);
    if (section === undefined)
      throw r.error(`string offset ${nameAt} is outside .BTF's strings`, `${path[0]}.sec_name_off`, r.offset - 4);
    const count = r.u32();
    if (count === 0 || count * size > end - r.offset) {
      throw r.error(
        `${count} records of ${size} bytes: expected 1 to ${Math.floor((end - r.offset) / size)}`,
        `${path[0]}.num_info`,
        r.offset - 4,
      );
    }
    const records: R[] = [];
    for (let i = 0; i < count; i++) {
      const next = r.offset + size;
      records.push(record(r, path));
      r.offset = next;
    }
    sections.push({ section, records });
  }
  return sections;
}

/**
 * Encodes a `.BTF.ext` section. Its strings are added to `builder`, so call this before `builder.encode()`.
 * Lines and columns above what the format holds are written as their highest value and 0.
 */
export function writeBtfExt(
  ext: BtfExt,
  builder: Pick<BtfBuilder, "addString" | "endian">,
  endian: Endian = builder.endian,
): Uint8Array {
  const w = new ByteWriter({ endian });
  w.u16(BTF_MAGIC).u8(BTF_VERSION).u8(0).u32(HEADER_WITH_CORE_BYTES).zeros(24);
  const part = <R>(index: number, sections: readonly ExtSection<R>[], size: number, record: (r: R) => void): void => {
    const start = w.length;
    w.patchU32(8 + index * 8, start - HEADER_WITH_CORE_BYTES);
    const used = sections.filter((s) => s.records.length > 0);
    // libbpf refuses a part that has a record size and no records.
    if (used.length === 0) return;
    w.u32(size);
    for (const { section, records } of used) {
      w.u32(builder.addString(section)).u32(records.length);
      records.forEach(record);
    }
    w.patchU32(12 + index * 8, w.length - start);
  };
  part(0, ext.funcs, 8, (f) => w.u32(f.insnOff).u32(f.typeId));
  part(1, ext.lines, 16, (l) => {
    w.u32(l.insnOff).u32(builder.addString(l.file)).u32(builder.addString(l.text));
    w.u32(Math.min(l.line, MAX_LINE) * 1024 + (l.col > MAX_COL ? 0 : l.col));
  });
  part(2, ext.coreRelos, 16, (c) => w.u32(c.insnOff).u32(c.typeId).u32(builder.addString(c.access)).u32(c.kind));
  return w.finish();
}
