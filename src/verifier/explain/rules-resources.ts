/** Rejections about things that must be given back: references, locks, sections. */
import type { Account, Rule } from "./failure.ts";
import { nullCheck, release, releaseAtExits } from "./fixes.ts";

export const resourceRules: readonly Rule[] = [
  {
    code: "BPF3140",
    pattern: /Unreleased reference id=(\d+) alloc_insn=(\d+)/,
    account: (f, m): Account => ({
      title: "what was acquired is not given back on this path",
      required: "every reference released (submitted, discarded) before the program ends",
      known: `reference ${m[1]}, acquired at instruction ${m[2]}`,
      also: [{ insn: Number(m[2]), message: "acquired here" }],
      help: "release it on every path that ends here, early returns included",
      fixes: () => [...release(f, Number(m[1])), ...releaseAtExits(f, Number(m[2]))],
    }),
  },
  {
    code: "BPF3141",
    pattern:
      /(?:inside|within) (bpf_(?:local_irq_save|rcu_read_lock|preempt_disable|spin_lock)(?:-ed)?) ?region|cannot be used inside bpf_(\w+)|(?:missing|unmatched) .*(?:lock|unlock|preemption)/,
    account: (): Account => ({
      title: "a lock or section is still held here",
      required: "locks, RCU, preemption and IRQ sections ended before this point",
      help: "leave the section on every path, early returns included",
    }),
  },
  {
    code: "BPF3144",
    pattern: /bpf_spin_lock at off=(-?\d+) must be held for (\w+)/,
    account: (_f, m): Account => ({
      title: `the lock that protects this ${m[2]} is not held here`,
      required: `the bpf_spin_lock at offset ${m[1]} of the same map value or object held`,
      help: `take the lock before the operation on ${m[2]}, and release it afterwards`,
    }),
  },
  {
    code: "BPF3145",
    pattern: /unlock of different lock|(?:un)?lock without taking a lock|Locking two bpf_spin_locks are not allowed/,
    account: (): Account => ({
      title: "this is not the lock that is held",
      required: "one lock at a time, and the same pointer to lock and unlock it",
      help: "keep the looked-up pointer: two lookups may give different values",
    }),
  },
  {
    code: "BPF3146",
    pattern: /tracing progs cannot use (\S+) yet|socket filter progs cannot use (\S+) yet/,
    account: (_f, m): Account => ({
      title: `programs of this type cannot use maps with a ${m[1] ?? m[2]}`,
      required: "another program type, or a map without that field",
      help: "use atomic additions or a per-CPU map instead of a lock",
    }),
  },
  {
    code: "BPF3147",
    pattern: /Possibly NULL pointer passed to trusted arg(\d+)/,
    account: (f, m): Account => ({
      title: "this argument may be null, and the kernel function takes no null",
      required: `a pointer that is not null as argument ${Number(m[1]) + 1}`,
      registers: [Number(m[1]) + 1],
      help: "compare it with null before the call",
      fixes: () => nullCheck(f, [Number(m[1]) + 1]),
    }),
  },
  {
    code: "BPF3148",
    pattern:
      /(?:[Ee]xpected|has to be) an? (initialized|uninitialized|unitialized) (dynptr|iter_\w+|irq flag)|cannot overwrite referenced dynptr/,
    account: (_f, m): Account => ({
      title:
        m[2] === undefined
          ? "a dynptr that must be released is overwritten"
          : `this ${m[2]} is ${m[1] === "initialized" ? "not set up" : "in use already"}`,
      required: m[2] === undefined ? "the dynptr submitted or discarded first" : `an ${m[1]} ${m[2]} on the stack`,
      help: "set it up once, use it, and give it back before it is used anew",
    }),
  },
  {
    code: "BPF3142",
    pattern: /function calls are not allowed while holding a lock/,
    account: (): Account => ({
      title: "no function may be called while a bpf_spin_lock is held",
      required: "only loads, stores and arithmetic between lock and unlock",
      help: "call it before taking the lock, or after releasing it",
    }),
  },
  {
    code: "BPF3143",
    pattern:
      /reference has not been acquired before|release of unowned|arg (\d+) is an unacquired reference|must be referenced when passed to release/,
    account: (_f, m): Account => ({
      title: "this was not acquired, or was released already",
      required: "a reference that this path acquired and still holds",
      registers: [m[1] === undefined ? 1 : Number(m[1])],
      help: "release each reference once; after that its pointers are gone",
    }),
  },
];
