/** Kernel objects built from BTF in the world's memory. */
import type { Btf } from "../../btf/btf.ts";
import { BTF_KIND } from "../../btf/kinds.ts";
import { findMember, resolve, resolveId, sizeOf } from "../../btf/layout.ts";
import type { BtfStruct } from "../../btf/types.ts";
import { decodeCString, encodeUtf8 } from "../../core/bytes.ts";
import { closest } from "../../core/edit-distance.ts";
import { ArgumentError } from "../../core/errors.ts";
import type { FieldList, Fields, FieldValue, KernelObject, Space, WorldMemory } from "./types.ts";
import { MAX_NESTING, ValueEncoder, described, fieldError, readMember, readValue } from "./values.ts";

/** A per-CPU variable: one object a CPU, `stride` bytes apart. */
export interface PerCpuObjects {
  /** What the program's pointer to the variable holds: the first CPU's. */
  readonly address: bigint;
  readonly stride: number;
  readonly cpus: readonly KernelObject[];
}

/** Bytes of one object: the kernel's largest structs have 100 KB. */
const LARGEST = 1 << 26;
const TYPE_NAME = /^(?:(struct|union|enum) )?([A-Za-z_][\w ]*)$/;

/**
 * Makes and reads the structs of one kernel. Pointers given as objects, text, bytes or lists get memory of their own; list
 * heads that nobody fills are empty lists.
 *
 * @example
 * const kernel = new KernelObjects(packagedKernel("6.1").btf, new PlainMemory());
 * const task = kernel.struct("task_struct", { pid: 42, comm: "bash", real_parent: { tgid: 1 } });
 * task.get("real_parent.tgid"); // 1
 */
export class KernelObjects {
  readonly btf: Btf;
  readonly memory: WorldMemory;
  readonly #encoder: ValueEncoder;
  readonly #listHeads = new Map<number, readonly number[]>();
  /** Addresses that were allocated since `scoped` began. */
  #scope: bigint[] | undefined;

  constructor(btf: Btf, memory: WorldMemory) {
    this.btf = btf;
    this.memory = memory;
    this.#encoder = new ValueEncoder(btf, {
      text: (text, user) => this.text(text, user ? "user" : "kernel"),
      bytes: (bytes, user) => this.bytes(bytes, user ? "user" : "kernel"),
      value: (typeId, value, path, user) => this.pointee(typeId, value, path, user ? "user" : "kernel"),
    });
  }

  #alloc(size: number, space: Space, name: string, writable = false): bigint {
    if (size > LARGEST) throw new ArgumentError("size", `${name}: expected at most ${LARGEST} bytes, got ${size}`);
    const address = this.memory.alloc(size, space, name, writable);
    this.#scope?.push(address);
    return address;
  }

  /** What `make` gives, and a function that gives all memory back that was allocated for it. On an error it is given back at once. */
  scoped<T>(make: () => T): { readonly value: T; readonly release: () => void } {
    const outer = this.#scope;
    const scope: bigint[] = [];
    this.#scope = scope;
    const release = (): void => {
      for (const address of scope.splice(0)) this.memory.free(address);
    };
    try {
      return { value: make(), release };
    } catch (error) {
      release();
      throw error;
    } finally {
      this.#scope = outer;
    }
  }

  /**
   * A new object: "task_struct", "struct sock", "union …", or a typedef or integer such as "u64".
   * @throws ArgumentError when the kernel has no such type or a field does not fit, with the field's path
   */
  struct(type: string, fields: FieldValue = {}, space: Space = "kernel"): KernelObject {
    return this.#make(this.typeId(type), fields, "", space);
  }

  /** What lies at `address`, seen as a `type`. */
  at(type: string, address: bigint): KernelObject {
    return new MadeObject(this, this.#encoder, this.typeId(type), address);
  }

  /** Id of a type by its name. @throws ArgumentError when the kernel has none of this name */
  typeId(name: string): number {
    const [, tag, plain = ""] = TYPE_NAME.exec(name.trim()) ?? [];
    const kinds = tag === undefined ? (["struct", "union", "typedef", "int", "enum"] as const) : [tag as "struct"];
    for (const kind of kinds) {
      const id = this.btf.findId(plain, kind);
      if (id !== 0) return id;
    }
    throw new ArgumentError("type", `this kernel has no type ${JSON.stringify(name)}${this.#similar(plain)}`);
  }

  #similar(name: string): string {
    const names = new Set<string>();
    for (let id = 1; id < this.btf.typeCount; id++)
      if (this.btf.kindOf(id) === BTF_KIND.STRUCT) names.add(this.btf.nameOf(id));
    const near = closest(name, names);
    return near === undefined ? "" : `; did you mean ${near}?`;
  }

  /** Those of `fields` that struct `type` has in this kernel: for what is filled in without being asked for. */
  known(type: string, fields: Fields): Fields {
    const id = this.typeId(type);
    return Object.fromEntries(Object.entries(fields).filter(([name]) => findMember(this.btf, id, name) !== undefined));
  }

  /** Address of the member at `path` of an object; pointers on the way are followed. */
  addressOf(object: KernelObject, path: string): bigint {
    return this.place(object.typeId, object.address, path).address;
  }

  /** NUL-terminated text in memory of its own: its address. */
  text(text: string, space: Space = "kernel"): bigint {
    const bytes = encodeUtf8(text);
    const at = this.#alloc(bytes.length + 1, space, space === "user" ? "user text" : "kernel text");
    this.memory.write(at, bytes);
    return at;
  }

  /** Bytes in memory of their own: their address. */
  bytes(bytes: Uint8Array, space: Space = "kernel", name = `${space} memory`, writable = false): bigint {
    const at = this.#alloc(bytes.length, space, name, writable);
    this.memory.write(at, bytes);
    return at;
  }

  /** NUL-terminated text at `address`, at most `limit` bytes; undefined when that is no memory. */
  textAt(address: bigint, limit = 4096): string | undefined {
    const bytes: number[] = [];
    for (let at = address; bytes.length < limit; at += 1n) {
      const byte = this.memory.read(at, 1)?.[0];
      if (byte === undefined) return undefined;
      if (byte === 0) break;
      bytes.push(byte);
    }
    return decodeCString(Uint8Array.from(bytes));
  }

  /** Pointers to texts and a NULL behind them, as `argv` is. */
  texts(texts: readonly string[], space: Space): bigint {
    const bytes = new Uint8Array((texts.length + 1) * 8);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < texts.length; i++) view.setBigUint64(i * 8, this.text(texts[i]!, space), true);
    return this.bytes(bytes, space, `${space} pointers`);
  }

  /**
   * Links objects into the list whose head is `head` at `headPath`, by their member `memberPath`: what
   * `list_for_each_entry` walks. @throws ArgumentError when a path is no list head
   *
   * @example
   * kernel.list(parent, "children", [first, second], "sibling");
   */
  list(head: KernelObject, headPath: string, items: readonly KernelObject[], memberPath: string): void {
    const nodes = [this.#listHead(head, headPath), ...items.map((item) => this.#listHead(item, memberPath))];
    for (let i = 0; i < nodes.length; i++) {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      view.setBigUint64(0, nodes[(i + 1) % nodes.length]!, true);
      view.setBigUint64(8, nodes[(i + nodes.length - 1) % nodes.length]!, true);
      this.memory.write(nodes[i]!, bytes);
    }
  }

  #listHead(object: KernelObject, path: string): bigint {
    const place = this.place(object.typeId, object.address, path);
    const type = resolve(this.btf, place.typeId);
    if (type.name !== "list_head") throw fieldError(path, `expected a list_head in ${object.type}`);
    return place.address;
  }

  /** One object a CPU, as a per-CPU variable or allocation has it. */
  perCpu(type: string, cpus: readonly FieldValue[]): PerCpuObjects {
    const id = this.typeId(type);
    const stride = Math.ceil(sizeOf(this.btf, id) / 64) * 64;
    const address = this.#alloc(stride * cpus.length, "kernel", `per-CPU ${type}`, true);
    const objects = cpus.map((fields, cpu) => {
      const at = address + BigInt(cpu * stride);
      this.#fill(id, at, sizeOf(this.btf, id), fields, `cpu ${cpu}`);
      return new MadeObject(this, this.#encoder, id, at);
    });
    return { address, stride, cpus: objects };
  }

  /**
   * Where `path` leads from an object: pointers are followed, "[2]" is an element.
   * @throws ArgumentError when a step does not exist or a pointer on the way leads nowhere
   */
  place(typeId: number, address: bigint, path: string): Place {
    let place: Place = { typeId, address, bits: undefined };
    let done = "";
    for (const step of steps(path)) {
      done +=
        done === "" || typeof step === "number" ? String(typeof step === "number" ? `[${step}]` : step) : `.${step}`;
      place = this.#step(place, step, done);
    }
    return place;
  }

  #step(from: Place, step: string | number, path: string): Place {
    let { typeId, address } = from;
    let type = resolve(this.btf, typeId);
    if (type.kind === "ptr") {
      const bytes = this.memory.read(address, 8);
      address = bytes === undefined ? 0n : (readValue(this.btf, typeId, bytes, 0) as bigint);
      if (address === 0n) throw fieldError(path, "the pointer before it is NULL");
      typeId = type.type;
      if (typeId === 0) throw fieldError(path, "the pointer before it is a void pointer");
      type = resolve(this.btf, typeId);
      if (typeof step === "number")
        return { typeId, address: address + BigInt(step * sizeOf(this.btf, typeId)), bits: undefined };
    }
    if (typeof step === "number") {
      if (type.kind !== "array" || (type.nelems !== 0 && step >= type.nelems))
        throw fieldError(path, type.kind === "array" ? `the array has ${type.nelems} elements` : "is no array");
      return { typeId: type.type, address: address + BigInt(step * sizeOf(this.btf, type.type)), bits: undefined };
    }
    if (type.kind !== "struct" && type.kind !== "union") throw fieldError(path, "what is before it has no members");
    const found = findMember(this.btf, type.id, step);
    if (found === undefined) throw this.#encoder.noMember(type, step, path);
    const { member, bitOffset } = found;
    if (member.bitSize === 0 && bitOffset % 8 !== 0)
      throw fieldError(path, `the types are wrong: a member at bit ${bitOffset} that is no bit-field`);
    if (member.bitSize === 0) return { typeId: member.type, address: address + BigInt(bitOffset / 8), bits: undefined };
    const unit = sizeOf(this.btf, member.type);
    const start = Math.floor(bitOffset / (unit * 8)) * unit;
    return {
      typeId: member.type,
      address: address + BigInt(start),
      bits: { offset: bitOffset - start * 8, size: member.bitSize },
    };
  }

  /** Address of a new `typeId` (or of several in a row) with these values; `path` names them in errors. */
  pointee(typeId: number, value: Fields | FieldList, path: string, space: Space): bigint {
    if (!Array.isArray(value)) return this.#make(typeId, value as Fields, path, space).address;
    const list = value as FieldList;
    const size = sizeOf(this.btf, typeId);
    const address = this.#alloc(size * list.length, space, `an array of ${this.btf.describe(typeId)}`);
    list.forEach((element, i) => this.#fill(typeId, address + BigInt(i * size), size, element, `${path}[${i}]`));
    return address;
  }

  #make(typeId: number, fields: FieldValue, path: string, space: Space): KernelObject {
    const type = resolve(this.btf, typeId);
    if (type.kind === "fwd")
      throw fieldError(path, `the members of ${type.of} ${type.name} are not known to this kernel's types`);
    const size = sizeOf(this.btf, typeId) + flexible(this.btf, type.kind === "struct" ? type : undefined, fields);
    const address = this.#alloc(size, space, nameOf(this.btf, typeId));
    try {
      this.#fill(typeId, address, size, fields, path);
    } catch (error) {
      this.memory.free(address);
      throw error;
    }
    return new MadeObject(this, this.#encoder, typeId, address);
  }

  #fill(typeId: number, address: bigint, size: number, fields: FieldValue, path: string): void {
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    for (const offset of this.#headsOf(typeId)) {
      if (offset + 16 > size) throw fieldError(path, `a list head at byte ${offset} is outside of ${size} bytes`);
      const at = address + BigInt(offset);
      view.setBigUint64(offset, at, true);
      view.setBigUint64(offset + 8, at, true);
    }
    this.#encoder.put(typeId, fields, bytes, 0, path);
    this.memory.write(address, bytes);
  }

  /** Offsets of the list heads in a type: each is an empty list at first. */
  #headsOf(typeId: number): readonly number[] {
    const id = resolveId(this.btf, typeId);
    let offsets = this.#listHeads.get(id);
    if (offsets === undefined) {
      const found: number[] = [];
      this.#collectHeads(id, 0, found, 0);
      this.#listHeads.set(id, (offsets = found));
    }
    return offsets;
  }

  #collectHeads(id: number, offset: number, into: number[], depth: number): void {
    const type = resolve(this.btf, id);
    if (depth > MAX_NESTING || type.kind !== "struct") return;
    if (type.name === "list_head") {
      if (Number.isInteger(offset)) into.push(offset);
      return;
    }
    for (const m of type.members)
      if (m.bitSize === 0) this.#collectHeads(m.type, offset + m.bitOffset / 8, into, depth + 1);
  }
}

interface Place {
  readonly typeId: number;
  readonly address: bigint;
  /** A bit-field: bits from `address` on. */
  readonly bits: { readonly offset: number; readonly size: number } | undefined;
}

class MadeObject implements KernelObject {
  readonly address: bigint;
  readonly type: string;
  readonly typeId: number;
  readonly size: number;
  readonly #kernel: KernelObjects;
  readonly #encoder: ValueEncoder;

  constructor(kernel: KernelObjects, encoder: ValueEncoder, typeId: number, address: bigint) {
    this.#kernel = kernel;
    this.#encoder = encoder;
    this.typeId = typeId;
    this.address = address;
    this.type = nameOf(kernel.btf, typeId);
    this.size = sizeOf(kernel.btf, typeId);
  }

  get(path: string): unknown {
    const place = this.#kernel.place(this.typeId, this.address, path);
    const size = sizeOf(this.#kernel.btf, place.typeId);
    const bytes = this.#kernel.memory.read(place.address, size);
    if (bytes === undefined) throw fieldError(path, `there is no memory at 0x${place.address.toString(16)}`);
    if (place.bits === undefined) return readValue(this.#kernel.btf, place.typeId, bytes, 0);
    const { offset, size: bitSize } = place.bits;
    return readMember(this.#kernel.btf, { name: "", type: place.typeId, bitOffset: offset, bitSize }, offset, bytes, 0);
  }

  set(fields: Fields): void {
    const bytes = this.#kernel.memory.read(this.address, this.size);
    if (bytes === undefined) throw fieldError("", `${this.type} is not there any more`);
    this.#encoder.put(this.typeId, fields, bytes, 0, "");
    this.#kernel.memory.write(this.address, bytes);
  }
}

/** "struct task_struct", "u64", "struct". */
function nameOf(btf: Btf, id: number): string {
  const type = btf.typeById(id);
  if (type.kind === "struct" || type.kind === "union") return described(type);
  return type.name === "" ? type.kind : type.name;
}

/** Bytes that the elements of a flexible array at the struct's end take. */
function flexible(btf: Btf, type: BtfStruct | undefined, fields: FieldValue): number {
  const last = type?.members.at(-1);
  if (last === undefined || typeof fields !== "object" || fields === null || Array.isArray(fields)) return 0;
  const value = (fields as Fields)[last.name];
  const array = resolve(btf, last.type);
  if (value === undefined || value === null || array.kind !== "array" || array.nelems !== 0) return 0;
  if (typeof value === "string") return encodeUtf8(value).length + 1;
  if (value instanceof Uint8Array) return value.length;
  return Array.isArray(value) ? value.length * sizeOf(btf, array.type) : 0;
}

/** "mm.vmas[2].start" as its steps. */
function steps(path: string): (string | number)[] {
  const out: (string | number)[] = [];
  const pattern = /(?:^|\.)([A-Za-z_]\w*)|\[(\d+)\]/y;
  while (pattern.lastIndex < path.length) {
    const at = pattern.lastIndex;
    const m = pattern.exec(path);
    if (m === null)
      throw fieldError(path, `expected a member or [index] at ${JSON.stringify(path.slice(at, at + 20))}`);
    out.push(m[1] ?? Number(m[2]));
  }
  return out;
}
