/** Objects that programs allocate, and the lists and trees they put them into. */
import { Btf } from "../../btf/btf.ts";
import { sizeOf } from "../../btf/layout.ts";
import { ERRNO } from "../../uapi/index.ts";
import { FAULT } from "../fault.ts";
import type { Helper } from "../helpers/table.ts";
import { retAddress } from "../helpers/region.ts";
import type { Block } from "../memory.ts";
import type { Run } from "../run.ts";
import type { Vm } from "../vm.ts";

interface Allocated {
  readonly block: Block;
  references: number;
}

/** What one VM's programs allocated. */
export class Objects {
  readonly #objects = new Map<number, Allocated>();
  /** Nodes of each tree in order, by the address of its root. */
  readonly trees = new Map<number, number[]>();
  readonly #vm: Vm;
  #btf: Btf | undefined;

  constructor(vm: Vm) {
    this.#vm = vm;
  }

  /** @throws VmFault without the program's BTF */
  create(run: Run, typeId: number): number {
    const bytes = this.#vm.spec.btf;
    if (bytes === undefined) throw run.fault(FAULT.NOT_MODELLED, "objects can only be made when the program has BTF");
    this.#btf ??= Btf.parse(bytes);
    const { name } = this.#btf.typeById(typeId);
    const block = this.#vm.memory.alloc(sizeOf(this.#btf, typeId), "mem", `an object of struct ${name}`);
    this.#objects.set(block.base, { block, references: 1 });
    return block.base;
  }
  /** The object that has `address` in it: its first byte. */
  baseOf(address: number): number | undefined {
    const base = this.#vm.memory.blockAt(address)?.base;
    return base !== undefined && this.#objects.has(base) ? base : undefined;
  }
  acquire(address: number): boolean {
    const object = this.#objects.get(address);
    if (object !== undefined) object.references++;
    return object !== undefined;
  }
  release(address: number): boolean {
    const object = this.#objects.get(address);
    if (object === undefined) return false;
    if (--object.references === 0) {
      this.#objects.delete(address);
      this.#vm.memory.release(object.block);
    }
    return true;
  }
}

const OWNER = 16;
const arg = (run: Run, n: number): number => run.lo(n) >>> 0;

function held(run: Run, address: number, what: string): void {
  run.acquired.set(address, { what, insn: run.insn });
}

/** The reference to the object of `node` goes to a list or tree. */
function give(run: Run, node: number): void {
  const base = run.vm.objects.baseOf(node);
  if (base !== undefined) run.acquired.delete(base);
}
function takeBack(run: Run, node: number): void {
  const base = run.vm.objects.baseOf(node);
  if (base !== undefined) held(run, base, "the object taken out");
}

/** A list head or node is a struct list_head; a head that was never used points to itself. */
function ready(run: Run, head: number): void {
  const { view } = run.memory;
  if (view.getUint32(head, true) !== 0) return;
  view.setBigUint64(head, BigInt(head), true);
  view.setBigUint64(head + 8, BigInt(head), true);
}

function push(front: boolean): Helper {
  return (run) => {
    const head = run.writable(1, 16, "list head");
    const node = run.writable(2, 24, "list node");
    const { view } = run.memory;
    ready(run, head);
    give(run, node);
    if (view.getUint32(node + OWNER, true) !== 0) {
      // It is in a list already: the kernel drops the reference.
      const base = run.vm.objects.baseOf(node);
      if (base !== undefined) run.vm.objects.release(base);
      return run.ret(-ERRNO.EINVAL);
    }
    view.setBigUint64(node + OWNER, BigInt(head), true);
    const before = front ? head : view.getUint32(head + 8, true);
    const after = front ? view.getUint32(head, true) : head;
    view.setBigUint64(node, BigInt(after), true);
    view.setBigUint64(node + 8, BigInt(before), true);
    view.setBigUint64(before, BigInt(node), true);
    view.setBigUint64(after + 8, BigInt(node), true);
    return run.ret(0);
  };
}

function end(front: boolean, take: boolean): Helper {
  return (run) => {
    const head = run.writable(1, 16, "list head");
    const { view } = run.memory;
    ready(run, head);
    const node = view.getUint32(front ? head : head + 8, true);
    if (node === head) return run.retPointer(0, 0);
    if (take) {
      const next = view.getUint32(node, true);
      const previous = view.getUint32(node + 8, true);
      view.setBigUint64(previous, BigInt(next), true);
      view.setBigUint64(next + 8, BigInt(previous), true);
      view.setBigUint64(node, 0n, true);
      view.setBigUint64(node + 8, 0n, true);
      view.setBigUint64(node + OWNER, 0n, true);
      takeBack(run, node);
    }
    return retAddress(run, node);
  };
}

const RB_OWNER = 24;
const treeOf = (run: Run, root: number): number[] => {
  let tree = run.vm.objects.trees.get(root);
  if (tree === undefined) run.vm.objects.trees.set(root, (tree = []));
  return tree;
};

/** The node goes where the program's `less` sends it; equal ones keep the order in which they came. */
function add(run: Run): void {
  const root = run.writable(1, 16, "tree");
  const node = run.writable(2, 32, "tree node");
  const slot = run.func(3);
  const tree = treeOf(run, root);
  const { view } = run.memory;
  give(run, node);
  if (view.getUint32(node + RB_OWNER, true) !== 0) {
    const base = run.vm.objects.baseOf(node);
    if (base !== undefined) run.vm.objects.release(base);
    return run.ret(-ERRNO.EINVAL);
  }
  view.setBigUint64(node + RB_OWNER, BigInt(root), true);
  let low = 0;
  let high = tree.length;
  run.call({
    slot,
    next: (previous) => {
      if (previous !== undefined) {
        const middle = (low + high) >> 1;
        // A bool comes in the low byte.
        if ((previous & 0xff) !== 0) high = middle;
        else low = middle + 1;
      }
      if (low === high) {
        tree.splice(low, 0, node);
        run.ret(0);
        return false;
      }
      const other = tree[(low + high) >> 1]!;
      run.setReg(1, node, run.checked ? run.memory.regionAt(node) : 0);
      run.setReg(2, other, run.checked ? run.memory.regionAt(other) : 0);
      for (let n = 3; n <= 5; n++) run.setReg(n, 0);
      return true;
    },
  });
}

export const OBJECT_KFUNCS: Readonly<Record<string, Helper>> = {
  bpf_obj_new_impl: (run) => {
    const address = run.vm.objects.create(run, arg(run, 1));
    held(run, address, "the object");
    retAddress(run, address);
  },
  bpf_obj_drop_impl: (run) => {
    const address = arg(run, 1);
    if (!run.vm.objects.release(address)) {
      throw run.fault(FAULT.RELEASED, `r1: there is no object at 0x${address.toString(16)} to drop`);
    }
    run.acquired.delete(address);
  },
  bpf_refcount_acquire_impl: (run) => {
    const address = arg(run, 1);
    if (!run.vm.objects.acquire(address)) return run.retPointer(0, 0);
    held(run, address, "the reference to the object");
    return retAddress(run, address);
  },
  bpf_list_push_front_impl: push(true),
  bpf_list_push_back_impl: push(false),
  bpf_list_pop_front: end(true, true),
  bpf_list_pop_back: end(false, true),
  bpf_list_front: end(true, false),
  bpf_list_back: end(false, false),
  bpf_rbtree_add_impl: add,
  bpf_rbtree_first: (run) => retAddress(run, treeOf(run, run.readable(1, 16, "tree"))[0] ?? 0),
  bpf_rbtree_remove: (run) => {
    const tree = treeOf(run, run.writable(1, 16, "tree"));
    const node = arg(run, 2);
    const at = tree.indexOf(node);
    if (at < 0) return run.retPointer(0, 0);
    tree.splice(at, 1);
    run.memory.view.setBigUint64(node + RB_OWNER, 0n, true);
    takeBack(run, node);
    return retAddress(run, node);
  },
};
