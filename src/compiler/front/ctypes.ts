/** C types as trace event formats write them. */
import type { KernelTypes } from "./kernel.ts";
import { SIGNED, UNSIGNED } from "./sign.ts";
import type { PlaceVal } from "./value.ts";
import type { PointerSpace, Type, Width } from "./types.ts";
import { BOOL, intType, isScalar, sizeOf } from "./types.ts";

export interface CTypeOptions {
  /** Pointers are addresses of user memory (arguments of system calls). */
  readonly user: boolean;
  readonly kernel: KernelTypes | undefined;
  /** Bytes the event has for it. */
  readonly size: number;
  readonly signed: boolean;
}

const LONG = 64;
/** Names that the kernel's BTF spells differently or need no look-up. */
const BASIC: Readonly<Record<string, readonly [bits: Width, signed: boolean]>> = {
  char: [8, true],
  "signed char": [8, true],
  "unsigned char": [8, false],
  short: [16, true],
  "unsigned short": [16, false],
  int: [32, true],
  unsigned: [32, false],
  "unsigned int": [32, false],
  long: [LONG, true],
  "unsigned long": [LONG, false],
  "long long": [64, true],
  "unsigned long long": [64, false],
  u8: [8, false],
  u16: [16, false],
  u32: [32, false],
  u64: [64, false],
  s8: [8, true],
  s16: [16, true],
  s32: [32, true],
  s64: [64, true],
  __u8: [8, false],
  __u16: [16, false],
  __u32: [32, false],
  __u64: [64, false],
  __s8: [8, true],
  __s16: [16, true],
  __s32: [32, true],
  __s64: [64, true],
  size_t: [64, false],
  ssize_t: [64, true],
  loff_t: [64, true],
  pid_t: [32, true],
  uid_t: [32, false],
  gid_t: [32, false],
  umode_t: [16, false],
  mode_t: [16, false],
  dev_t: [32, false],
  qid_t: [32, true],
  __be16: [16, false],
  __be32: [32, false],
  off_t: [64, true],
  clockid_t: [32, true],
  timer_t: [32, true],
  key_t: [32, true],
  aio_context_t: [64, false],
};

/** The type of a field; its size is that of the C type where both are known and it is smaller. */
export function parseCType(text: string, o: CTypeOptions): PlaceVal["type"] {
  const array = /^(.*?)\s*\[(\d*)\]$/.exec(text.trim());
  if (array !== null) {
    const base = array[1] ?? "";
    if (/\bchar$/.test(base)) return { k: "char", length: o.size };
    const element = parseCType(base, { ...o, size: Number(array[2]) > 0 ? o.size / Number(array[2]) : 8 });
    const size = sizeOf(element);
    return { k: "array", element, length: size > 0 ? Math.floor(o.size / size) : 0 };
  }
  const words = text
    .replace(/\b(const|volatile|__user|__restrict)\b/g, " ")
    .replace(/\*/g, " * ")
    .trim()
    .split(/\s+/);
  const stars = words.filter((w) => w === "*").length;
  const base = words.filter((w) => w !== "*").join(" ");
  const space: PointerSpace = o.user ? "user" : "kernel";
  if (stars > 0) {
    let to: Type | undefined = baseType(base, o);
    if (to?.k === "int" && to.bits === 8 && /\bchar$/.test(base)) to = { k: "char", length: 0 };
    // A user structure is not the kernel's structure of that name as far as reading it goes.
    if (o.user && to?.k === "kstruct") to = undefined;
    for (let i = 1; i < stars; i++)
      to = { k: "ptr", to: to === undefined || to.k === "void" ? undefined : to, space, trust: "probe" };
    return { k: "ptr", to, space, trust: "probe" };
  }
  const t = baseType(base, o);
  if (t !== undefined && isScalar(t) && sizeOf(t) <= o.size) return t;
  return sized(o);
}

function sized(o: CTypeOptions): PlaceVal["type"] {
  const bits = o.size * 8;
  return bits === 8 || bits === 16 || bits === 32 || bits === 64
    ? { k: "int", bits, sign: o.signed ? SIGNED : UNSIGNED }
    : { k: "array", element: intType(8, false), length: o.size };
}

function baseType(name: string, o: CTypeOptions): Type | undefined {
  if (name === "bool" || name === "_Bool") return BOOL;
  const basic = BASIC[name];
  if (basic !== undefined) return intType(basic[0], basic[1]);
  const { kernel } = o;
  if (kernel === undefined) return undefined;
  const tag = /^(struct|union|enum) (\w+)$/.exec(name);
  if (tag !== null) {
    if (tag[1] === "enum") {
      const id = kernel.btf.findId(tag[2] ?? "", "enum");
      return id === 0 ? undefined : kernel.enumType(id);
    }
    return kernel.findStruct(tag[2] ?? "");
  }
  const id = /^\w+$/.test(name) ? kernel.btf.findId(name, "typedef") : 0;
  if (id === 0) return undefined;
  const t = kernel.typeOf(id, "probe");
  return t.k === "void" ? undefined : t;
}
