/** Rejections about things that must be given back: references, locks, sections. */
import type { Account, Rule } from "./failure.ts";
import { release, releaseAtExits } from "./fixes.ts";

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
    pattern: /(?:inside|within) (bpf_(?:local_irq_save|rcu_read_lock|preempt_disable|spin_lock)(?:-ed)?) ?region|cannot be used inside bpf_(\w+)|(?:missing|unmatched) .*(?:lock|unlock|preemption)/,
    account: (): Account => ({
      title: "a lock or section is still held here",
      required: "locks, RCU, preemption and IRQ sections ended before this point",
      help: "leave the section on every path, early returns included",
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
    pattern: /reference has not been acquired before|release of unowned|arg (\d+) is an unacquired reference|must be referenced when passed to release/,
    account: (_f, m): Account => ({
      title: "this was not acquired, or was released already",
      required: "a reference that this path acquired and still holds",
      registers: [m[1] === undefined ? 1 : Number(m[1])],
      help: "release each reference once; after that its pointers are gone",
    }),
  },
];
