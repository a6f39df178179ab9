/** Warnings about programs that compile and load, but hardly do what is meant. */
import type { Expression } from "acorn";
import type { HelperRow } from "../../uapi/index.ts";
import type { Ast, Expr, FunctionNode, Stmt } from "./ast.ts";
import { unwrap } from "./ast.ts";
import type { Fn } from "./context.ts";
import type { PointerSpace } from "./types.ts";

/** Helpers that fail for reasons outside of the program, and leave memory or the packet as it was. (Those that read memory put zeros there.) */
const FALLIBLE =
  /^((xdp|skb)_store_bytes|xdp_load_bytes|dynptr_(read|write)|fib_lookup|d_path|xdp_adjust_(head|tail|meta)|skb_(adjust_room|change_(head|tail|proto)|pull_data|vlan_(push|pop)))$/;
/** Helpers whose result is the verdict to return. */
const VERDICTS = /^(redirect(_map|_peer|_neigh)?|(sk|msg)_redirect_(map|hash))$/;

/** `bpf.helper(…);` as a statement of its own. */
export function lintDropped(fn: Fn, row: HelperRow, node: Ast): void {
  if (fn.dropped !== node) return;
  const name = `bpf.${row.name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase())}`;
  if (FALLIBLE.test(row.name)) fn.report("BPF6004", node, { name });
  else if (VERDICTS.test(row.name)) fn.report("BPF6005", node, { name });
}

/** Reading at an address that is known to be in the other memory. */
export function lintSpace(fn: Fn, is: PointerSpace, said: PointerSpace, node: Ast, fix: string): void {
  if (is !== "unknown" && said !== "unknown" && is !== said) fn.report("BPF6003", node, { is, said, fix });
}

/** What runs 10^5 times a second and more on a busy machine. */
const HOT = new Set(
  (
    "sys_enter sys_exit sched_switch sched_wakeup sched_waking sched_stat_runtime kmalloc kmem_cache_alloc kfree kmem_cache_free " +
    "mm_page_alloc mm_page_free softirq_entry softirq_exit softirq_raise timer_start timer_expire_entry timer_cancel hrtimer_start " +
    "hrtimer_cancel hrtimer_expire_entry rcu_utilization page_fault_user page_fault_kernel netif_receive_skb consume_skb kfree_skb " +
    "schedule __schedule try_to_wake_up __kmalloc __kmalloc_noprof kmem_cache_alloc_noprof _raw_spin_lock _raw_spin_lock_irqsave " +
    "_raw_spin_unlock mutex_lock mutex_unlock fget fput dput"
  ).split(" "),
);
const SENDS: Readonly<Record<string, string>> = { emit: "sends a sample", printk: "prints a line" };

/** A program on something hot that sends a sample each time, before it has decided anything. */
export function lintHot(fn: Fn, node: FunctionNode): void {
  const parts = fn.program.handle.section.split("/");
  const name = parts.at(-1) ?? "";
  if (parts.length < 2 || !HOT.has(name) || /^u(ret)?probe|^usdt/.test(parts[0] ?? "")) return;
  const body = (node.body.type === "BlockStatement" ? node.body.body : [node.body]) as readonly Ast[];
  for (const s of body) {
    const statement = s as Stmt;
    const e = statement.type === "ExpressionStatement" ? statement.expression : (s as Expression);
    const x = unwrap(e as Ast) as Expr;
    if (
      x.type === "CallExpression" &&
      x.callee.type === "MemberExpression" &&
      x.callee.property.type === "Identifier"
    ) {
      const sends = Object.hasOwn(SENDS, x.callee.property.name) ? SENDS[x.callee.property.name] : undefined;
      if (sends !== undefined) {
        fn.report("BPF6006", x, { target: name, sends });
        return;
      }
    }
    // A condition, or something that may contain one: the author has thought about it.
    if (statement.type !== "ExpressionStatement" && statement.type !== "VariableDeclaration") return;
  }
}
