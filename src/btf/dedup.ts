/**
 * Merging equal types. Two types are equal when their records and everything they
 * refer to are: the coarsest partition of the type graph that no type's references
 * contradict, found by splitting classes until nothing changes (as automata are
 * minimised). A forward declaration becomes the one struct that it can mean.
 */
import type { Endian } from "../core/bytes.ts";
import { Btf } from "./btf.ts";
import { BtfBuilder } from "./builder.ts";
import { BTF_KIND } from "./kinds.ts";
import { eachStringRef, eachTypeRef } from "./refs.ts";

const K = BTF_KIND;

export interface DedupResult {
  readonly btf: Btf;
  /** New id by old id; own ids of the input, and those of its base unchanged. */
  readonly ids: Uint32Array;
}

/**
 * A BTF without duplicate strings and types: what libbpf's `btf__dedup` is for. VARs and
 * DATASECs stay as they are, with their references mapped. Split BTF is also merged with
 * its base. Applying it twice changes nothing.
 * @throws DecodeError when a type is malformed.
 *
 * @example
 * const merged = new BtfBuilder();
 * merged.append(a);
 * merged.append(b);
 * const { btf, ids } = dedupBtf(merged.build());
 */
export function dedupBtf(btf: Btf, options: { endian?: Endian } = {}): DedupResult {
  const graph = new TypeGraph(btf);
  graph.assumeForwards();
  let classes = graph.partition();
  // What was assumed and does not hold is taken back, which can only tell more types apart.
  while (graph.retractForwards(classes)) classes = graph.partition();
  return rebuild(btf, graph, classes, options.endian ?? btf.endian);
}

class TypeGraph {
  readonly #btf: Btf;
  readonly #count: number;
  /** Type references of type i: `#refs[#refStart[i]]` to `#refs[#refStart[i + 1] - 1]`. */
  readonly #refStart: Uint32Array;
  readonly #refs: number[] = [];
  /** Class of each type by its own record alone. */
  readonly #shallow: Uint32Array;
  /** What a reference to each id means: itself, or the definition of a forward declaration. */
  readonly meaning: Uint32Array;

  /** Definitions by kind and name. */
  readonly #definitions = new Map<string, number[]>();
  /** Forward declarations that mean a definition. */
  #assumed: { id: number; key: string }[] = [];

  constructor(btf: Btf) {
    this.#btf = btf;
    this.#count = btf.typeCount;
    this.#refStart = new Uint32Array(btf.typeCount + 1);
    this.#shallow = new Uint32Array(btf.typeCount);
    this.meaning = Uint32Array.from({ length: btf.typeCount }, (_, id) => id);
    this.#readRecords();
  }

  #readRecords(): void {
    const btf = this.#btf;
    const byRecord = new Map<string, number>();
    const strings = new Map<string, number>();
    for (let id = 1; id < this.#count; id++) {
      // Names, references and bounds are checked by decoding.
      btf.decode(id);
      const owner = btf.owner(id);
      const start = owner.wordOf(id);
      const record = owner.words.slice(start, owner.offsets[id - owner.firstId + 1] ?? owner.words.length);
      eachStringRef(record, 0, (at) => {
        const text = owner.stringAt(record[at]!);
        let number = strings.get(text);
        if (number === undefined) strings.set(text, (number = strings.size));
        record[at] = number;
      });
      this.#refStart[id] = this.#refs.length;
      eachTypeRef(record, 0, (at) => {
        this.#refs.push(record[at]!);
        record[at] = 0;
      });
      const kind = btf.kindOf(id);
      // Variables and sections belong to one object each.
      const key = kind === K.VAR || kind === K.DATASEC ? `${kind}#${id}` : record.join();
      let number = byRecord.get(key);
      if (number === undefined) byRecord.set(key, (number = byRecord.size + 1));
      this.#shallow[id] = number;
    }
    this.#refStart[this.#count] = this.#refs.length;
  }

  /** Class number by id: equal types have equal numbers. */
  partition(): Uint32Array {
    const count = this.#count;
    const classOf = this.#shallow.slice();
    const members: number[][] = [];
    for (let id = 0; id < count; id++) (members[classOf[id]!] ??= []).push(id);
    const parents = this.#parents();
    let dirty = new Uint8Array(count);
    let queue: number[] = [];
    for (let id = 1; id < count; id++) queue.push(id);
    while (queue.length > 0) {
      dirty.fill(0);
      const byClass = new Map<number, number[]>();
      for (const id of queue) {
        const own = classOf[id]!;
        if (dirty[id] === 1 || members[own]!.length === 1) continue;
        dirty[id] = 1;
        const list = byClass.get(own);
        if (list === undefined) byClass.set(own, [id]);
        else list.push(id);
      }
      queue = [];
      const moved: number[] = [];
      // Keys are taken before any class changes, so that all are of one state.
      const splits: { own: number; groups: number[][] }[] = [];
      for (const [own, list] of byClass) {
        const groups = new Map<string, number[]>();
        for (const id of list) {
          const key = this.#key(id, classOf);
          const group = groups.get(key);
          if (group === undefined) groups.set(key, [id]);
          else group.push(id);
        }
        const parts = [...groups.values()];
        if (list.length < members[own]!.length) parts.push(members[own]!.filter((id) => dirty[id] === 0));
        if (parts.length > 1) splits.push({ own, groups: parts });
      }
      for (const { own, groups } of splits) {
        let largest = 0;
        groups.forEach((g, i) => {
          if (g.length > groups[largest]!.length) largest = i;
        });
        groups.forEach((group, i) => {
          if (i === largest) {
            members[own] = group;
            return;
          }
          const fresh = members.length;
          members.push(group);
          for (const id of group) {
            classOf[id] = fresh;
            moved.push(id);
          }
        });
      }
      for (const id of moved) for (const parent of parents[id] ?? []) queue.push(parent);
    }
    return classOf;
  }

  #key(id: number, classOf: Uint32Array): string {
    let key = "";
    for (let i = this.#refStart[id]!; i < this.#refStart[id + 1]!; i++)
      key += `${classOf[this.meaning[this.#refs[i]!]!]},`;
    return key;
  }

  /** Who refers to each type, forward declarations counted as what they mean. */
  #parents(): (number[] | undefined)[] {
    const parents: (number[] | undefined)[] = [];
    for (let id = 1; id < this.#count; id++) {
      for (let i = this.#refStart[id]!; i < this.#refStart[id + 1]!; i++)
        (parents[this.meaning[this.#refs[i]!]!] ??= []).push(id);
    }
    return parents;
  }

  /** Lets each forward declaration mean the first definition of its name. */
  assumeForwards(): void {
    const btf = this.#btf;
    const forwards: { id: number; key: string }[] = [];
    for (let id = 1; id < this.#count; id++) {
      const place = forwardOrDefinition(btf, id);
      if (place === undefined) continue;
      if (place.forward) {
        // A base's own types keep what they say.
        if (id >= btf.firstId) forwards.push({ id, key: place.key });
        continue;
      }
      const known = this.#definitions.get(place.key);
      if (known === undefined) this.#definitions.set(place.key, [id]);
      else known.push(id);
    }
    for (const { id, key } of forwards) {
      const target = this.#definitions.get(key)?.[0];
      if (target === undefined) continue;
      this.meaning[id] = target;
      this.#assumed.push({ id, key });
    }
  }

  /** Takes back the meaning of declarations whose name has several different definitions; true when any was. */
  retractForwards(classOf: Uint32Array): boolean {
    const before = this.#assumed.length;
    this.#assumed = this.#assumed.filter(({ id, key }) => {
      const definitions = this.#definitions.get(key)!;
      const one = definitions.every((d) => classOf[d] === classOf[definitions[0]!]);
      if (!one) this.meaning[id] = id;
      return one;
    });
    return this.#assumed.length < before;
  }
}

function forwardOrDefinition(btf: Btf, id: number): { forward: boolean; key: string } | undefined {
  const owner = btf.owner(id);
  const info = owner.words[owner.wordOf(id) + 1]!;
  const kind = btf.kindOf(id);
  const name = btf.nameOf(id);
  if (name === "") return undefined;
  switch (kind) {
    case K.FWD:
      return { forward: true, key: `${info >>> 31 === 1 ? "union" : "struct"} ${name}` };
    case K.STRUCT:
      return { forward: false, key: `struct ${name}` };
    case K.UNION:
      return { forward: false, key: `union ${name}` };
    case K.ENUM:
    case K.ENUM64:
      return { forward: (info & 0xffff) === 0, key: `enum ${name}` };
    default:
      return undefined;
  }
}

function rebuild(btf: Btf, graph: TypeGraph, classOf: Uint32Array, endian: Endian): DedupResult {
  const first = new Map<number, number>();
  /** Old id of what stands for each type. */
  const stands = new Uint32Array(btf.typeCount);
  for (let id = 1; id < btf.typeCount; id++) {
    const own = classOf[id]!;
    if (!first.has(own)) first.set(own, id);
  }
  const ids = new Uint32Array(btf.typeCount);
  let next = btf.firstId;
  for (let id = 1; id < btf.typeCount; id++) {
    stands[id] = first.get(classOf[graph.meaning[id]!]!)!;
    if (id < btf.firstId) ids[id] = id;
    else if (stands[id] === id) ids[id] = next++;
  }
  for (let id = btf.firstId; id < btf.typeCount; id++) ids[id] = ids[stands[id]!]!;
  const builder = new BtfBuilder(btf.base === undefined ? { endian } : { base: btf.base, endian });
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (stands[id] === id) builder.copy(btf, id, (target) => ids[target]!);
  }
  return { btf: Btf.parse(builder.encode(), btf.base === undefined ? {} : { base: btf.base }), ids };
}
