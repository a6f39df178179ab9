/** Writes `src/uapi/syscall-args.ts` from the running kernel's trace events: `node --import tsx scripts/gen-syscall-args.mts` as root. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tracepointFields } from "../src/load/tracepoints.ts";
import { realKernel } from "../src/syscall/index.ts";

const kernel = realKernel();
const rows = Object.entries(tracepointFields(kernel)).flatMap(([event, fields]) => {
  const name = /^syscalls:sys_enter_(\w+)$/.exec(event)?.[1];
  if (name === undefined) return [];
  const args = fields.filter((f) => !f.name.startsWith("common_") && f.name !== "__syscall_nr");
  return [`${name}(${args.map((f) => `${f.type} ${f.name}`).join(", ")})`];
});
const path = join(import.meta.dirname, "../src/uapi/syscall-args.ts");
writeFileSync(
  path,
  `/**
 * Arguments of system calls, as SYSCALL_DEFINE names them and \`syscalls:sys_enter_*\` records have them: for who may not
 * read tracefs. Made by scripts/gen-syscall-args.mts on Linux ${kernel.release.replace(/-.*/, "")}, x86-64; other machines name theirs the same.
 */
const ROWS = \`
${rows.sort().join("\n")}
\`;

export interface SyscallArg {
  readonly name: string;
  /** C type without the name. */
  readonly type: string;
}

/** Arguments of a system call by its name without \`sys_\`; undefined when the table lacks it. */
export function syscallArgs(name: string): readonly SyscallArg[] | undefined {
  const from = /^\\w+$/.test(name) ? ROWS.indexOf(\`\\n\${name}(\`) : -1;
  if (from < 0) return undefined;
  const list = ROWS.slice(from + name.length + 2, ROWS.indexOf(")\\n", from));
  return list === ""
    ? []
    : list.split(", ").map((arg) => {
        const at = arg.lastIndexOf(" ");
        return { type: arg.slice(0, at), name: arg.slice(at + 1) };
      });
}
`,
);
console.log(`${rows.length} system calls`);
