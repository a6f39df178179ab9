/** Which words of a type record are type ids, and which are string offsets. */
import { BTF_KIND } from "./kinds.ts";

const K = BTF_KIND;

/** Calls `visit` with the index (in `words`) of each type id in the record at `word`. */
export function eachTypeRef(words: Uint32Array, word: number, visit: (index: number) => void): void {
  const info = words[word + 1]!;
  const vlen = info & 0xffff;
  switch ((info >>> 24) & 0x1f) {
    case K.PTR:
    case K.TYPEDEF:
    case K.VOLATILE:
    case K.CONST:
    case K.RESTRICT:
    case K.FUNC:
    case K.VAR:
    case K.DECL_TAG:
    case K.TYPE_TAG:
      visit(word + 2);
      break;
    case K.ARRAY:
      visit(word + 3);
      visit(word + 4);
      break;
    case K.STRUCT:
    case K.UNION:
      for (let i = 0, at = word + 4; i < vlen; i++, at += 3) visit(at);
      break;
    case K.FUNC_PROTO:
      visit(word + 2);
      for (let i = 0, at = word + 4; i < vlen; i++, at += 2) visit(at);
      break;
    case K.DATASEC:
      for (let i = 0, at = word + 3; i < vlen; i++, at += 3) visit(at);
      break;
  }
}

/** Calls `visit` with the index (in `words`) of each string offset in the record at `word`. */
export function eachStringRef(words: Uint32Array, word: number, visit: (index: number) => void): void {
  visit(word);
  const info = words[word + 1]!;
  const vlen = info & 0xffff;
  switch ((info >>> 24) & 0x1f) {
    case K.STRUCT:
    case K.UNION:
    case K.ENUM64:
      for (let i = 0, at = word + 3; i < vlen; i++, at += 3) visit(at);
      break;
    case K.ENUM:
    case K.FUNC_PROTO:
      for (let i = 0, at = word + 3; i < vlen; i++, at += 2) visit(at);
      break;
  }
}
