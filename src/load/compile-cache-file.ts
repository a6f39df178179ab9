/**
 * The file of one compiled probe: JSON with the byte arrays behind it. (`node:v8` would
 * serialize all of it by itself, and takes longer to load than a warm start needs for this.)
 */
import { decodeInsns } from "../asm/decode.ts";
import { encodeInsns } from "../asm/encode.ts";
import type { PreparedModule } from "../compiler/capture/prepare.ts";
import type { CollectionSpec, MapSpec, ProgSpec } from "../elf/spec.ts";

/** Where a value is found again: an export, or a module-level name. */
export type Where = readonly ["export", string] | readonly ["name", string, string];

export interface Entry {
  readonly identity: string;
  /** Texts of all modules by URL, and what parsing them gave. */
  readonly modules: readonly { readonly url: string; readonly text: string; readonly prepared: PreparedModule }[];
  readonly values: readonly { readonly where: Where; readonly print: string }[];
  readonly tracepoints: readonly { readonly name: string; readonly print: string }[];
  /** Relocated for this kernel. */
  readonly spec: CollectionSpec;
  readonly maps: readonly { readonly name: string; readonly where: Where }[];
  readonly globals: readonly { readonly name: string; readonly where: Where }[];
  readonly programs: readonly { readonly name: string; readonly where: Where }[];
}

/** Offset and length of bytes behind the JSON text. */
type Blob = readonly [offset: number, length: number];
type StoredMap = Omit<MapSpec, "mapExtra" | "data" | "inner"> & {
  readonly mapExtra: string;
  readonly data: Blob | undefined;
  readonly inner: StoredMap | undefined;
};
type StoredProg = Omit<ProgSpec, "insns"> & { readonly code: Blob };
type StoredSpec = Omit<CollectionSpec, "btf" | "maps" | "progs" | "sources"> & {
  readonly btf: Blob | undefined;
  readonly maps: readonly StoredMap[];
  readonly progs: readonly StoredProg[];
  readonly sources: readonly (readonly [string, string])[];
};
type Stored = Omit<Entry, "spec"> & { readonly spec: StoredSpec };

const MAGIC = 0x324b_5042; // "BPK2"
const HEAD = 8;
const pad = (n: number): number => (n + 7) & ~7;

/** Layout: magic, length of the JSON text, the text, the blobs; each begins at a multiple of 8 bytes. */
export function encodeEntry(entry: Entry): Uint8Array {
  const blobs: Uint8Array[] = [];
  let length = 0;
  const put = (bytes: Uint8Array): Blob => {
    const blob = [length, bytes.length] as const;
    blobs.push(bytes);
    length += pad(bytes.length);
    return blob;
  };
  const map = ({ mapExtra, data, inner, ...rest }: MapSpec): StoredMap => ({
    ...rest,
    mapExtra: String(mapExtra),
    data: data === undefined ? undefined : put(data),
    inner: inner === undefined ? undefined : map(inner),
  });
  const { btf, maps, progs, sources, ...rest } = entry.spec;
  const spec: StoredSpec = {
    ...rest,
    btf: btf === undefined ? undefined : put(btf),
    maps: maps.map(map),
    progs: progs.map(({ insns, ...prog }) => ({ ...prog, code: put(encodeInsns(insns)) })),
    sources: [...sources],
  };
  const stored: Stored = { ...entry, spec };
  const text = Buffer.from(JSON.stringify(stored));
  const start = pad(HEAD + text.length);
  const out = new Uint8Array(start + length);
  new Uint32Array(out.buffer, 0, 2).set([MAGIC, text.length]);
  out.set(text, HEAD);
  let at = start;
  for (const bytes of blobs) {
    out.set(bytes, at);
    at += pad(bytes.length);
  }
  return out;
}

/** The entry without its spec, which is only decoded when the entry is used. Undefined for what is no entry of this version. */
export function decodeEntry(bytes: Uint8Array): (Omit<Entry, "spec"> & { spec(): CollectionSpec }) | undefined {
  const [magic, length = 0] = new Uint32Array(bytes.buffer, bytes.byteOffset, 2);
  if (magic !== MAGIC) return undefined;
  const { spec, ...rest } = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + HEAD, length).toString()) as Stored;
  const start = bytes.byteOffset + pad(HEAD + length);
  const blob = ([at, size]: Blob): Uint8Array => new Uint8Array(bytes.buffer, start + at, size);
  const map = ({ mapExtra, data, inner, ...m }: StoredMap): MapSpec => ({
    ...m,
    mapExtra: BigInt(mapExtra),
    data: data === undefined ? undefined : blob(data),
    inner: inner === undefined ? undefined : map(inner),
  });
  return {
    ...rest,
    spec: () => ({
      ...spec,
      btf: spec.btf === undefined ? undefined : blob(spec.btf),
      maps: spec.maps.map(map),
      progs: spec.progs.map(({ code, ...prog }): ProgSpec => ({ ...prog, insns: decodeInsns(blob(code)) })),
      sources: new Map(spec.sources),
    }),
  };
}
