/** One type record into its `BtfType`, checking names, references and linkages. */
import { DecodeError } from "../core/errors.ts";
import type { Btf } from "./btf.ts";
import { BTF_INT, BTF_LINKAGE, KIND_NAMES, type BtfLinkage } from "./kinds.ts";
import type { BtfMember, BtfParam, BtfSecVar, BtfType } from "./types.ts";

/** A `DecodeError` at word `index` of the record of type `id`; `list` and `element` name the array element it is in. */
function fail(btf: Btf, id: number, index: number, field: string, message: string, list = "", element = 0): never {
  throw new DecodeError(btf.what, message, {
    offset: btf.typeSectionOffset + (btf.wordOf(id) + index) * 4,
    path: ["types", `[${id}]`, ...(list === "" ? [] : [`${list}[${element}]`]), field],
  });
}

function text(btf: Btf, id: number, word: number, index: number, list = "", element = 0): string {
  const offset = btf.words[word + index]!;
  if (offset === 0) return "";
  const found = btf.stringOrUndefined(offset);
  if (found !== undefined) return found;
  return fail(
    btf,
    id,
    index,
    "name_off",
    `string offset ${offset} is outside ${btf.strings.end} bytes of strings`,
    list,
    element,
  );
}

function ref(btf: Btf, id: number, word: number, index: number, field = "type", list = "", element = 0): number {
  const target = btf.words[word + index]!;
  if (btf.has(target)) return target;
  return fail(btf, id, index, field, `type id ${target} does not exist (there are ${btf.typeCount})`, list, element);
}

/**
 * Decodes type `id`, whose record starts at `words[word]` and is known to fit.
 * @throws DecodeError
 */
export function decodeType(btf: Btf, id: number, word: number): BtfType {
  const { words } = btf;
  const info = words[word + 1]!;
  const kind = (info >>> 24) & 0x1f;
  const kflag = info >>> 31 === 1;
  const vlen = info & 0xffff;
  const name = text(btf, id, word, 0);
  const kindName = KIND_NAMES[kind] ?? "void";
  switch (kindName) {
    case "int": {
      const data = words[word + 3]!;
      const encoding = (data >>> 24) & 0x0f;
      const bits = data & 0xff;
      const offset = (data >>> 16) & 0xff;
      const size = words[word + 2]!;
      if (size === 0 || size > 16 || (size & (size - 1)) !== 0) {
        fail(btf, id, 2, "size", `an int of ${size} bytes: expected 1, 2, 4, 8 or 16`);
      }
      if (bits + offset > size * 8)
        fail(btf, id, 3, "bits", `bits ${offset} to ${offset + bits} are outside ${size} bytes`);
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
      return { kind: "ptr", id, name, type: ref(btf, id, word, 2) };
    case "array":
      return {
        kind: "array",
        id,
        name,
        type: ref(btf, id, word, 3),
        indexType: ref(btf, id, word, 4, "index_type"),
        nelems: words[word + 5]!,
      };
    case "struct":
    case "union": {
      const members: BtfMember[] = [];
      for (let i = 0, m = 3; i < vlen; i++, m += 3) {
        const raw = words[word + m + 2]!;
        members.push({
          name: text(btf, id, word, m, "members", i),
          type: ref(btf, id, word, m + 1, "type", "members", i),
          bitOffset: kflag ? raw & 0xff_ffff : raw,
          bitSize: kflag ? raw >>> 24 : 0,
        });
      }
      return { kind: kindName, id, name, size: words[word + 2]!, members };
    }
    case "enum": {
      const values: { name: string; value: number }[] = [];
      for (let i = 0, e = 3; i < vlen; i++, e += 2) {
        const raw = words[word + e + 1]!;
        values.push({ name: text(btf, id, word, e, "values", i), value: kflag ? raw | 0 : raw });
      }
      return { kind: "enum", id, name, size: words[word + 2]!, signed: kflag, values };
    }
    case "enum64": {
      const values: { name: string; value: bigint }[] = [];
      for (let i = 0, e = 3; i < vlen; i++, e += 3) {
        const raw = (BigInt(words[word + e + 2]!) << 32n) | BigInt(words[word + e + 1]!);
        values.push({ name: text(btf, id, word, e, "values", i), value: kflag ? BigInt.asIntN(64, raw) : raw });
      }
      return { kind: "enum64", id, name, size: words[word + 2]!, signed: kflag, values };
    }
    case "fwd":
      return { kind: "fwd", id, name, of: kflag ? "union" : "struct" };
    case "typedef":
      return { kind: "typedef", id, name, type: ref(btf, id, word, 2) };
    case "volatile":
    case "const":
    case "restrict":
      return { kind: kindName, id, name, type: ref(btf, id, word, 2) };
    case "func":
      return { kind: "func", id, name, type: ref(btf, id, word, 2), linkage: linkageOf(btf, id, 1, vlen) };
    case "func_proto": {
      const params: BtfParam[] = [];
      for (let i = 0, p = 3; i < vlen; i++, p += 2) {
        params.push({
          name: text(btf, id, word, p, "params", i),
          type: ref(btf, id, word, p + 1, "type", "params", i),
        });
      }
      return { kind: "func_proto", id, name, type: ref(btf, id, word, 2), params };
    }
    case "var":
      return { kind: "var", id, name, type: ref(btf, id, word, 2), linkage: linkageOf(btf, id, 3, words[word + 3]!) };
    case "datasec": {
      const vars: BtfSecVar[] = [];
      for (let i = 0, v = 3; i < vlen; i++, v += 3) {
        vars.push({
          type: ref(btf, id, word, v, "type", "vars", i),
          offset: words[word + v + 1]!,
          size: words[word + v + 2]!,
        });
      }
      return { kind: "datasec", id, name, size: words[word + 2]!, vars };
    }
    case "float":
      return { kind: "float", id, name, size: words[word + 2]! };
    case "decl_tag":
      return {
        kind: "decl_tag",
        id,
        name,
        type: ref(btf, id, word, 2),
        componentIdx: words[word + 3]! | 0,
        attribute: kflag,
      };
    case "type_tag":
      return { kind: "type_tag", id, name, type: ref(btf, id, word, 2), attribute: kflag };
    default:
      return fail(btf, id, 1, "info", `expected a kind from 1 to 19, got ${kind}`);
  }
}

function linkageOf(btf: Btf, id: number, index: number, value: number): BtfLinkage {
  return (
    BTF_LINKAGE[value] ?? fail(btf, id, index, "linkage", `expected 0 (static), 1 (global) or 2 (extern), got ${value}`)
  );
}
