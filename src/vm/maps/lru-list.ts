/**
 * Which element an LRU map evicts: the common LRU of kernel/bpf/bpf_lru_list.c (6.18) for one lock at a time.
 * Elements wander between a free list, an active and an inactive list, and short lists of each CPU.
 */
const TARGET = 128;
/** How many elements one pass over a list looks at. */
const SCANS = 128;

const FREE = 0;
const ACTIVE = 1;
const INACTIVE = 2;
const LOCAL_FREE = 3;
const LOCAL_PENDING = 4;

/** Doubly linked lists over element indices; list heads are further indices. */
class Lists {
  prev: Int32Array;
  next: Int32Array;
  constructor(nodes: number, heads: number) {
    this.prev = Int32Array.from({ length: nodes + heads }, (_, i) => i);
    this.next = this.prev.slice();
  }
  remove(n: number): void {
    this.next[this.prev[n]!] = this.next[n]!;
    this.prev[this.next[n]!] = this.prev[n]!;
  }
  addFirst(head: number, n: number): void {
    const after = this.next[head]!;
    this.next[head] = n;
    this.prev[n] = head;
    this.next[n] = after;
    this.prev[after] = n;
  }
}

export class LruList {
  readonly #lists: Lists;
  readonly #type: Uint8Array;
  readonly #ref: Uint8Array;
  readonly #cpuOf: Uint16Array;
  readonly #counts = [0, 0, 0, 0, 0];
  readonly #nodes: number;
  readonly #target: number;
  readonly #cpus: number;
  readonly #evict: (node: number) => boolean;
  readonly #nextSteal: Int32Array;
  #rotation: number;

  /** `evict` takes the element out of the table; false when it is not in it. */
  constructor(nodes: number, cpus: number, evict: (node: number) => boolean) {
    this.#nodes = nodes;
    this.#cpus = cpus;
    this.#evict = evict;
    // Heads: free, active, inactive, then a free and a pending list for each CPU.
    this.#lists = new Lists(nodes, 3 + 2 * cpus);
    this.#type = new Uint8Array(nodes);
    this.#ref = new Uint8Array(nodes);
    this.#cpuOf = new Uint16Array(nodes);
    this.#target = Math.min(TARGET, Math.max(1, Math.floor(Math.floor(nodes / cpus) / 2)));
    this.#nextSteal = Int32Array.from({ length: cpus }, (_, i) => i);
    this.#rotation = this.#head(INACTIVE);
    for (let i = 0; i < nodes; i++) this.#lists.addFirst(this.#head(FREE), i);
  }

  #head(list: number): number {
    return this.#nodes + list;
  }
  #local(kind: number, cpu: number): number {
    return this.#nodes + 3 + 2 * cpu + (kind - LOCAL_FREE);
  }

  /** A program has used the element. */
  touch(node: number): void {
    this.#ref[node] = 1;
  }

  /** The element for a new entry on this CPU; -1 when there is none. */
  take(cpu: number): number {
    let node = this.#popLocalFree(cpu);
    if (node < 0) {
      this.#refill(cpu);
      node = this.#popLocalFree(cpu);
    }
    if (node < 0) node = this.#steal(cpu);
    if (node >= 0) this.#addPending(cpu, node);
    return node;
  }

  giveBack(node: number): void {
    const type = this.#type[node]!;
    if (type === FREE || type === LOCAL_FREE) return;
    if (type === LOCAL_PENDING) {
      this.#type[node] = LOCAL_FREE;
      this.#ref[node] = 0;
      this.#lists.remove(node);
      this.#lists.addFirst(this.#local(LOCAL_FREE, this.#cpuOf[node]!), node);
      return;
    }
    this.#move(node, FREE);
  }

  #popLocalFree(cpu: number): number {
    const head = this.#local(LOCAL_FREE, cpu);
    const node = this.#lists.next[head]!;
    if (node === head) return -1;
    this.#lists.remove(node);
    return node;
  }
  #addPending(cpu: number, node: number): void {
    this.#cpuOf[node] = cpu;
    this.#type[node] = LOCAL_PENDING;
    this.#ref[node] = 0;
    this.#lists.addFirst(this.#local(LOCAL_PENDING, cpu), node);
  }

  /** Between the global lists, or from one of them to `head` as `type`. */
  #move(node: number, type: number, head = this.#head(type)): void {
    const { prev } = this.#lists;
    if (node === this.#rotation) this.#rotation = prev[node]!;
    this.#counts[this.#type[node]!]!--;
    this.#counts[type]!++;
    this.#type[node] = type;
    this.#ref[node] = 0;
    this.#lists.remove(node);
    this.#lists.addFirst(head, node);
  }

  #refill(cpu: number): void {
    const { prev, next } = this.#lists;
    const pending = this.#local(LOCAL_PENDING, cpu);
    for (let n = prev[pending]!; n !== pending;) {
      const before = prev[n]!;
      const type = this.#ref[n] === 1 ? ACTIVE : INACTIVE;
      this.#counts[type]!++;
      this.#type[n] = type;
      this.#ref[n] = 0;
      this.#lists.remove(n);
      this.#lists.addFirst(this.#head(type), n);
      n = before;
    }
    this.#rotate();
    let got = 0;
    const free = this.#head(FREE);
    const local = this.#local(LOCAL_FREE, cpu);
    for (let n = next[free]!; n !== free && got < this.#target;) {
      const after = next[n]!;
      this.#move(n, LOCAL_FREE, local);
      got++;
      n = after;
    }
    if (got < this.#target) this.#shrink(this.#target - got, local);
  }

  #rotate(): void {
    const { prev, next } = this.#lists;
    if (this.#counts[INACTIVE]! < this.#counts[ACTIVE]!) {
      const active = this.#head(ACTIVE);
      const first = next[active]!;
      let n = prev[active]!;
      for (let i = 0; n !== active;) {
        const before = prev[n]!;
        this.#move(n, this.#ref[n] === 1 ? ACTIVE : INACTIVE);
        if (++i === SCANS || n === first) break;
        n = before;
      }
    }
    const inactive = this.#head(INACTIVE);
    if (next[inactive] === inactive) return;
    let last = next[this.#rotation]!;
    if (last === inactive) last = next[last]!;
    let n = this.#rotation;
    let before = n;
    for (let i = 0; i < SCANS;) {
      if (n === inactive) {
        n = prev[n]!;
        continue;
      }
      before = prev[n]!;
      const isLast = n === last;
      if (this.#ref[n] === 1) this.#move(n, ACTIVE);
      if (isLast) break;
      n = before;
      i++;
    }
    this.#rotation = before;
  }

  #shrink(wanted: number, local: number): void {
    const { prev } = this.#lists;
    const inactive = this.#head(INACTIVE);
    let got = 0;
    let scanned = 0;
    for (let n = prev[inactive]!; n !== inactive;) {
      const before = prev[n]!;
      if (this.#ref[n] === 1) this.#move(n, ACTIVE);
      else if (this.#evict(n)) {
        this.#move(n, LOCAL_FREE, local);
        if (++got === wanted) break;
      }
      if (++scanned === SCANS) break;
      n = before;
    }
    if (got > 0) return;
    const list = prev[inactive] === inactive ? this.#head(ACTIVE) : inactive;
    for (let n = prev[list]!; n !== list; n = prev[n]!) {
      if (!this.#evict(n)) continue;
      this.#move(n, LOCAL_FREE, local);
      return;
    }
  }

  #steal(cpu: number): number {
    const first = this.#nextSteal[cpu]!;
    let from = first;
    let node = -1;
    do {
      node = this.#popLocalFree(from);
      if (node < 0) node = this.#popPending(from);
      from = (from + 1) % this.#cpus;
    } while (node < 0 && from !== first);
    this.#nextSteal[cpu] = from;
    return node;
  }
  #popPending(cpu: number): number {
    const head = this.#local(LOCAL_PENDING, cpu);
    for (const force of [false, true]) {
      for (let n = this.#lists.prev[head]!; n !== head; n = this.#lists.prev[n]!) {
        if ((this.#ref[n] === 0 || force) && this.#evict(n)) {
          this.#lists.remove(n);
          return n;
        }
      }
    }
    return -1;
  }
}
