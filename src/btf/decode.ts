/** One type record into its `BtfType`, checking names, references and linkages. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { BTF_INT, BTF_LINKAGE, KIND_NAMES, type BtfLinkage } from "./kinds.ts";
import type { BtfMember, BtfParam, BtfSecVar, BtfType } from "./types.ts";

/**
 * Decodes type `id`, whose record starts at `words[word]` and is known to fit.
 * @throws DecodeError
 */
export function decodeType(btf: Btf, id: number, word: number): BtfType {
  const { words } = btf;
  const at = (index: number): number => words[word + index]!;
  const fail = (index: number, message: string, ...path: string[]): never => {
    throw new DecodeError(btf.what, message, {
      offset: btf.typeSectionOffset + (word + index) * 4,
      path: ["types", `[${id}]`, ...path],
    });
  };
  const text = (index: number, ...path: string[]): string =>
    btf.stringAt(at(index), () => [btf.typeSectionOffset + (word + index) * 4, ["types", `[${id}]`, ...path]]);
  const ref = (index: number, ...path: string[]): number => {
    const target = at(index);
    if (target >= btf.typeCount) fail(index, `type id ${target} does not exist (there are ${btf.typeCount})`, ...path);
    return target;
  };
  const info = at(1);
  const kind = (info >>> 24) & 0x1f;
  const kflag = info >>> 31 === 1;
  const vlen = info & 0xffff;
  const name = text(0, "name_off");
  const kindName = KIND_NAMES[kind] ?? "void";
  switch (kindName) {
    case "int": {
      const data = at(3);
      const encoding = (data >>> 24) & 0x0f;
      const bits = data & 0xff;
      const offset = (data >>> 16) & 0xff;
      const size = at(2);
      if (size === 0 || size > 16 || (size & (size - 1)) !== 0) fail(2, `an int of ${size} bytes: expected 1, 2, 4, 8 or 16`, "size");
      if (bits + offset > size * 8) fail(3, `bits ${offset} to ${offset + bits} are outside ${size} bytes`, "bits");
      return {
        kind: "int",
        id,
        name,
        size,
        bits,
        offset,
        signed: (encoding & BTF_INT.SIGNED) !== 0,
        char: (encoding & BTF_INT.CHAR) !== 0,
        bool: (encoding & BTF_INT.BOOL) !== 0,
      };
    }
    case "ptr":
      return { kind: "ptr", id, name, type: ref(2, "type") };
    case "array":
      return { kind: "array", id, name, type: ref(3, "type"), indexType: ref(4, "index_type"), nelems: at(5) };
    case "struct":
    case "union": {
      const members: BtfMember[] = [];
      for (let i = 0; i < vlen; i++) {
        const m = 3 + i * 3;
        const member = `members[${i}]`;
        const raw = at(m + 2);
        members.push({
          name: text(m, member, "name_off"),
          type: ref(m + 1, member, "type"),
          bitOffset: kflag ? raw & 0xff_ffff : raw,
          bitSize: kflag ? raw >>> 24 : 0,
        });
      }
      return { kind: kindName, id, name, size: at(2), members };
    }
    case "enum": {
      const values: { name: string; value: number }[] = [];
      for (let i = 0; i < vlen; i++) {
        const raw = at(4 + i * 2);
        values.push({ name: text(3 + i * 2, `values[${i}]`, "name_off"), value: kflag ? raw | 0 : raw });
      }
      return { kind: "enum", id, name, size: at(2), signed: kflag, values };
    }
    case "enum64": {
      const values: { name: string; value: bigint }[] = [];
      for (let i = 0; i < vlen; i++) {
        const e = 3 + i * 3;
        const raw = (BigInt(at(e + 2)) << 32n) | BigInt(at(e + 1));
        values.push({ name: text(e, `values[${i}]`, "name_off"), value: kflag ? BigInt.asIntN(64, raw) : raw });
      }
      return { kind: "enum64", id, name, size: at(2), signed: kflag, values };
    }
    case "fwd":
      return { kind: "fwd", id, name, of: kflag ? "union" : "struct" };
    case "typedef":
      return { kind: "typedef", id, name, type: ref(2, "type") };
    case "volatile":
    case "const":
    case "restrict":
      return { kind: kindName, id, name, type: ref(2, "type") };
    case "func":
      return { kind: "func", id, name, type: ref(2, "type"), linkage: linkageOf(vlen) ?? fail(1, `unknown linkage ${vlen}`, "info") };
    case "func_proto": {
      const params: BtfParam[] = [];
      for (let i = 0; i < vlen; i++) {
        const p = 3 + i * 2;
        params.push({ name: text(p, `params[${i}]`, "name_off"), type: ref(p + 1, `params[${i}]`, "type") });
      }
      return { kind: "func_proto", id, name, type: ref(2, "type"), params };
    }
    case "var":
      return { kind: "var", id, name, type: ref(2, "type"), linkage: linkageOf(at(3)) ?? fail(3, `unknown linkage ${at(3)}`, "linkage") };
    case "datasec": {
      const vars: BtfSecVar[] = [];
      for (let i = 0; i < vlen; i++) {
        const v = 3 + i * 3;
        vars.push({ type: ref(v, `vars[${i}]`, "type"), offset: at(v + 1), size: at(v + 2) });
      }
      return { kind: "datasec", id, name, size: at(2), vars };
    }
    case "float":
      return { kind: "float", id, name, size: at(2) };
    case "decl_tag":
      return { kind: "decl_tag", id, name, type: ref(2, "type"), componentIdx: at(3) | 0, attribute: kflag };
    case "type_tag":
      return { kind: "type_tag", id, name, type: ref(2, "type"), attribute: kflag };
    default:
      return fail(1, `expected a kind from 1 to 19, got ${kind}`, "info");
  }
}

function linkageOf(value: number): BtfLinkage | undefined {
  return BTF_LINKAGE[value];
}
