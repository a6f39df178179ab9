/** Kinds of rejections by the verifier's words: what each means, and what could be done. The first that matches counts. */
import * as op from "../../asm/opcode.ts";
import { ctxLayout, ctxOf } from "../../uapi/ctx.ts";
import { helperByName } from "../../uapi/helper-access.ts";
import { helperById } from "../../uapi/helpers.ts";
import { type ProgTypeName, progTypeName } from "../../uapi/prog-types.ts";
import { type Account, type Failure, type Rule, known } from "./failure.ts";
import * as fix from "./fixes.ts";
import { resourceRules } from "./rules-resources.ts";

const num = (m: RegExpExecArray, group: number): number => Number(m[group]);

/** Register that a load or store goes through. */
function baseOf(f: Failure): number {
  const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
  if (insn === undefined) return 0;
  return op.classOf(insn.opcode) === op.BPF_LDX ? insn.src : insn.dst;
}

const isCall = (f: Failure): boolean =>
  f.insn !== undefined && f.load.insns[f.insn]?.opcode === (op.BPF_JMP | op.BPF_CALL);

/** "bpf_map_lookup_elem" where the instruction calls a helper. */
function calleeName(f: Failure): string {
  const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
  const row = insn === undefined || !isCall(f) || insn.src !== 0 ? undefined : helperById(insn.imm);
  return row === undefined ? "the function" : `bpf_${row.name}`;
}

const memoryRules: readonly Rule[] = [
  {
    code: "BPF3101",
    pattern:
      /R(\d+) (?:invalid mem access '(\w*_or_null)'|pointer arithmetic on (\w*_or_null\w*) prohibited, null-check it first)/,
    account: (f, m): Account => ({
      title: "this pointer may be null, and nothing has checked it",
      required: "a pointer that is not null",
      known: `R${m[1]} is ${known(f, num(m, 1))}`,
      registers: [num(m, 1)],
      help: "compare it with null (in TypeScript: undefined) before using it",
      fixes: () => fix.nullCheck(f, [num(m, 1)]),
    }),
  },
  {
    code: "BPF3102",
    pattern: /R(\d+) type=(\w*_or_null\w*) expected=([^\n]+)/,
    account: (f, m): Account => ({
      title: `${calleeName(f)} needs a pointer that is not null`,
      required: `argument ${m[1]} of ${calleeName(f)}: ${m[3]}`,
      known: `R${m[1]} is ${known(f, num(m, 1))}`,
      registers: [num(m, 1)],
      help: "compare it with null (in TypeScript: undefined) before passing it on",
      fixes: () => fix.nullCheck(f, [num(m, 1)]),
    }),
  },
  {
    code: "BPF3103",
    pattern: /R(\d+) invalid mem access '(scalar|inv)'/,
    account: (f, m): Account => ({
      title: "this address is only a number to the verifier: it cannot be dereferenced",
      required: "a pointer that the verifier follows (context, stack, map value, packet, typed kernel pointer)",
      known: `R${m[1]} is ${known(f, num(m, 1))}`,
      registers: [num(m, 1)],
      help: "read kernel memory with bpf_probe_read_kernel (user memory with bpf_probe_read_user), or keep the pointer where its type is known",
      fixes: () => fix.probeRead(f),
    }),
  },
  {
    code: "BPF3104",
    pattern: /invalid access to packet, off=(-?\d+) size=(\d+), R(\d+)\(id=\d+,off=(-?\d+),r=(-?\d+)\)/,
    account: (f, m): Account => ({
      title: `nothing has checked that the packet has ${num(m, 1) + num(m, 2)} bytes`,
      required: `data + ${num(m, 1) + num(m, 2)} <= data_end, compared on every path that leads here`,
      known: `R${m[3]} is ${known(f, num(m, 3))}: ${m[5]} bytes after it are known to be there`,
      registers: [num(m, 3)],
      help: "compare the end of the access with data_end first",
      fixes: () => fix.packetCheck(f, num(m, 3), num(m, 1) + num(m, 2) - (f.regs[num(m, 3)]?.off ?? 0)),
    }),
  },
  {
    code: "BPF3105",
    pattern:
      /invalid access to (map value|map key|memory|mem|buf|flow keys)[^,\n]*, (?:value_size|key_size|mem_size)=(\d+) off=(-?\d+) size=(-?\d+)/,
    account: (f, m): Account => {
      const regno = /R(\d+) (?:min|max|is) /.exec(f.reason)?.[1];
      const reg = regno === undefined ? baseOf(f) : Number(regno);
      return {
        title: `an access of size ${m[4]} at offset ${m[3]} leaves the ${m[2]} bytes that are there`,
        required: `0 <= offset and offset + ${m[4]} <= ${m[2]}`,
        known: `R${reg} is ${known(f, reg)}`,
        registers: isCall(f) ? [reg, Math.min(5, reg + 1)] : [reg],
        help: "bound the offset or index (compare it with the size, or mask it) before it is added to the pointer",
        fixes: () => (isCall(f) ? fix.boundSize(f, Math.min(5, reg + 1)) : fix.boundOffset(f, reg)),
      };
    },
  },
  {
    code: "BPF3106",
    pattern:
      /R(\d+) (unbounded memory access, (?:make sure to bounds check|use)|min value is negative|is not valid, range|invalid zero-sized read|max value is outside|unbounded min value|min value is outside)/,
    account: (f, m): Account => {
      const r = num(m, 1);
      return {
        title: isCall(f)
          ? `the size that ${calleeName(f)} gets has no bound that the verifier sees`
          : "this offset has no bound that the verifier sees",
        required: isCall(f)
          ? `a size that fits what argument ${r - 1} points to`
          : "an offset within the memory that is pointed to",
        known: `R${r} is ${known(f, r)}`,
        registers: [r],
        help: "compare it with a constant (signed numbers: also with 0), or mask it with &",
        fixes: () => (isCall(f) ? fix.boundSize(f, r) : fix.boundOffset(f, r)),
      };
    },
  },
  {
    code: "BPF3107",
    pattern:
      /math between (\w+) pointer and register with unbounded (min|max) value|value (-?\d+) makes (\w+) pointer be out of bounds/,
    account: (f): Account => {
      const insn = f.insn === undefined ? undefined : f.load.insns[f.insn];
      const r = insn?.src ?? 0;
      return {
        title: "a number without bounds is added to a pointer",
        required: "a number between -2^29 and 2^29",
        known: `R${r} is ${known(f, r)}`,
        registers: [r],
        help: "compare the number with a constant, or mask it with &, before it is added",
        fixes: () => fix.boundScalar(f),
      };
    },
  },
  {
    code: "BPF3108",
    pattern:
      /invalid( unbounded variable-offset| variable-offset)? (read from|write to|indirect access to|read|write) ?stack R?(\d+)?/,
    account: (f, m): Account => {
      const r = m[3] === undefined ? baseOf(f) : Number(m[3]);
      return {
        title: "this is outside of the stack: a function has 512 bytes below its frame pointer",
        required: "an offset from -512 to -1, and nothing that reaches beyond",
        known: `R${r} is ${known(f, r)}`,
        registers: [r],
        help: "make the buffer smaller, or keep it in a per-CPU array map (one entry)",
      };
    },
  },
  {
    code: "BPF3109",
    pattern: /R(\d+) !read_ok/,
    account: (f, m): Account => {
      const r = num(m, 1);
      const exit = f.insn !== undefined && f.load.insns[f.insn]?.opcode === (op.BPF_JMP | op.BPF_EXIT);
      return {
        title: exit
          ? "a path ends without a return value"
          : `R${r} has no value here: it was never set, or a call has clobbered it`,
        required: exit ? "a return value in R0" : `R${r} set on every path (calls keep only R6 to R9)`,
        known: `R${r} is not set`,
        registers: [r],
        help: exit
          ? "return a number on every path"
          : `set R${r} first; to keep a value over a call, hold it in R6 to R9 or on the stack`,
        fixes: () => [...(exit ? [] : fix.keepOverCall(f, r)), ...fix.initialise(f, r)],
      };
    },
  },
  {
    code: "BPF3110",
    pattern: /invalid( indirect)? (?:read from|access to)( indirect)? ?stack.*? off (-?\d+)\+(\d+) size (\d+)/,
    account: (f, m): Account => ({
      title: `byte ${num(m, 3) + num(m, 4)} of the stack was never written`,
      required: `all ${m[5]} bytes from fp${m[3]} written before they are read`,
      registers: [baseOf(f)],
      help: "set the whole buffer (padding included) before it is read or given to a helper",
    }),
  },
  {
    code: "BPF3111",
    pattern: /invalid bpf_context access off=(-?\d+)(?: size=(\d+))?/,
    account: (f, m): Account => {
      const type = progTypeName(f.load.progType) as ProgTypeName | undefined;
      const layout = type === undefined ? undefined : ctxLayout(ctxOf(type)?.struct ?? "");
      const field = layout?.fields.find((x) => x.offset <= num(m, 1) && num(m, 1) < x.offset + x.size);
      return {
        title: `a ${type?.toLowerCase() ?? ""} program may not access its context at offset ${m[1]}${m[2] === undefined ? "" : `, ${m[2]} bytes`}`,
        required:
          layout === undefined
            ? "a field of the context that programs of this type may use"
            : `a field of struct ${layout.name} that ${type?.toLowerCase()} programs may use, with its own size`,
        known:
          field === undefined
            ? layout === undefined
              ? undefined
              : `there is no field at offset ${m[1]} of ${layout.size} bytes`
            : `offset ${m[1]} is ${field.name} (${field.type}, ${field.size} bytes at ${field.offset})`,
        registers: [baseOf(f)],
        help:
          layout === undefined
            ? "use the context's declared fields"
            : `fields of ${layout.name}: ${layout.fields
                .slice(0, 12)
                .map((x) => x.name)
                .join(", ")}, …`,
        fixes: () => (field === undefined || field.offset !== num(m, 1) ? [] : fix.otherAccessSize(f, field.size)),
      };
    },
  },
  {
    code: "BPF3113",
    pattern:
      /(write into map forbidden|write access into map|cannot write into|R\d+ leaks addr into|write to change key)|only read (?:from \S+ )?is supported/,
    account: (f): Account => ({
      title: "this memory may only be read",
      required: "a store into memory that the program may write",
      known: `R${baseOf(f)} is ${known(f, baseOf(f))}`,
      registers: [baseOf(f)],
      help: "copy the value to the stack or to a map value, and change the copy",
    }),
  },
  {
    code: "BPF3112",
    pattern: /dereference of modified ctx ptr R(\d+) off=(-?\d+) disallowed|variable ctx access/,
    account: (f, m): Account => ({
      title: "the context pointer was moved, and then dereferenced",
      required: "the context as the program got it; the offset belongs into the access itself",
      registers: [m[1] === undefined ? baseOf(f) : num(m, 1)],
      help: "do not compute addresses within the context: read its fields by name",
      fixes: () => (m[1] === undefined ? [] : fix.foldOffset(f, num(m, 1))),
    }),
  },
];

const callRules: readonly Rule[] = [
  {
    code: "BPF3120",
    pattern: /program of this type cannot use helper bpf_(\w+)#(\d+)/,
    account: (f, m): Account => {
      const row = helperByName(m[1] ?? "");
      const type = progTypeName(f.load.progType)?.toLowerCase() ?? "these";
      const types = row?.progs.map((t) => t.toLowerCase()) ?? [];
      return {
        title: `${type} programs may not call bpf_${m[1]}`,
        required:
          types.length === 0
            ? "a helper that this kernel has"
            : `one of the program types that have it: ${types.slice(0, 10).join(", ")}${types.length > 10 ? ", …" : ""}`,
        help: "use a helper that this program type has, or another program type",
        fixes: () =>
          substitutes(m[1] ?? "").flatMap((name) => {
            const other = helperByName(name);
            return other === undefined ? [] : fix.otherHelper(f, other.id, `bpf_${name}`);
          }),
      };
    },
  },
  {
    code: "BPF3121",
    pattern: /invalid func (?:unknown|\w+)#(-?\d+)/,
    account: (_f, m): Account => ({
      title: `there is no helper number ${m[1]} in Linux 6.18`,
      required: "a helper that the kernel has",
      help: "the number is wrong, or the helper was poisoned because the kernel lacks what it needs",
    }),
  },
  {
    code: "BPF3122",
    pattern: /cannot call (GPL-restricted|kernel) function from non-GPL compatible program/,
    account: (f): Account => ({
      title: `${calleeName(f)} is only for programs with a licence compatible with the GPL`,
      required: `licence "GPL", "Dual BSD/GPL" or the like`,
      known: `the licence is ${JSON.stringify(f.load.license)}`,
      help: `declare the licence "GPL" (or "Dual MIT/GPL")`,
      fixes: () => fix.gplLicense(f),
    }),
  },
  {
    code: "BPF3123",
    pattern: /R(\d+) type=(\S+) expected=([^\n]+)/,
    account: (f, m): Account => ({
      title: `argument ${m[1]} of ${calleeName(f)} is of the wrong kind`,
      required: `one of: ${m[3]}`,
      known: `R${m[1]} is ${known(f, num(m, 1))}`,
      registers: [num(m, 1)],
      help:
        m[2] === "scalar"
          ? "pass the address of a buffer (on the stack or in a map value), not a number"
          : "pass what the helper expects there",
      fixes: () => (/\bfp\b/.test(m[3] ?? "") ? fix.addressOfCopy(f, num(m, 1)) : []),
    }),
  },
  {
    code: "BPF3124",
    pattern: /cannot pass map_type (\d+) into func bpf_(\w+)#/,
    account: (_f, m): Account => ({
      title: `bpf_${m[2]} does not work on maps of this type`,
      required: "a map type that the helper supports",
      registers: [1],
      help: "use another map type, or the helper for this one (ring buffers: bpf_ringbuf_*, stacks and queues: bpf_map_push/pop/peek_elem)",
    }),
  },
  {
    code: "BPF3127",
    pattern: /expected prog array map for tail call/,
    account: (): Account => ({
      title: "bpf_tail_call takes a map of programs",
      required: "argument 2: a map of type prog_array",
      registers: [2],
      help: "declare a prog_array (in TypeScript: progArray) and put the programs in it",
    }),
  },
  {
    code: "BPF3125",
    pattern: /(?:helper call might sleep|sleepable helper|is sleepable within|must be sleepable)/,
    account: (f): Account => ({
      title: `${calleeName(f)} may sleep, and this program may not`,
      required: "a sleepable program, outside of RCU, lock, preemption and IRQ sections",
      help: "declare the program sleepable (its section ends in .s), or use the variant that does not sleep",
    }),
  },
  {
    code: "BPF3126",
    pattern: /R(\d+) must be a known constant|R(\d+) is not a known constant/,
    account: (f, m): Account => ({
      title: "this argument must be a constant",
      required: "a number that is the same on all paths",
      known: `R${m[1] ?? m[2]} is ${known(f, Number(m[1] ?? m[2]))}`,
      registers: [Number(m[1] ?? m[2])],
      help: "write the number itself there",
    }),
  },
];

/** Helpers with the same arguments that other program types have. */
function substitutes(name: string): readonly string[] {
  switch (name) {
    case "probe_read":
      return ["probe_read_kernel", "probe_read_user"];
    case "probe_read_str":
      return ["probe_read_kernel_str", "probe_read_user_str"];
    case "ktime_get_tai_ns":
    case "ktime_get_coarse_ns":
    case "jiffies64":
      return ["ktime_get_ns"];
    case "sk_lookup_tcp":
      return ["skc_lookup_tcp"];
    default:
      return [];
  }
}

/** The instruction with the most work, as a label. */
function hottest(f: Failure): { readonly insn: number; readonly message: string }[] {
  const { counts } = f;
  if (counts === undefined) return [];
  let top = 0;
  counts.forEach((n, i) => {
    if (n > counts[top]!) top = i;
  });
  return [{ insn: top, message: `processed ${counts[top]} times, more than anything else (--stats shows the others)` }];
}

const flowRules: readonly Rule[] = [
  {
    code: "BPF3130",
    pattern: /infinite loop detected at insn (\d+)/,
    account: (f): Account => ({
      title: "this loop comes back to the same state: it may never end",
      required: "a loop in which something changes towards its end each time, as far as the verifier sees",
      help: "count up to a constant",
      fixes: () => fix.boundLoop(f),
    }),
  },
  {
    code: "BPF3131",
    pattern: /BPF program is too large\. Processed (\d+) insn|The sequence of (\d+) jumps is too complex/,
    account: (f, m): Account => ({
      title: `the verifier gave up after ${m[1] === undefined ? `${m[2]} jumps on one path` : `${m[1]} instructions`}`,
      required: "at most 1,000,000 processed instructions over all paths, and 8192 pending jumps",
      also: hottest(f),
      help: "shorten loops, move their body into a global function, or use bpf_loop: it is verified once",
      fixes: () => fix.boundLoop(f),
    }),
  },
  {
    code: "BPF3132",
    pattern: /At program exit the register R0 has (.*?) should have been in \[(-?\d+), (-?\d+)\]/,
    account: (f, m): Account => ({
      title: `the return value must be between ${m[2]} and ${m[3]}`,
      required: `${m[2]} <= R0 <= ${m[3]} for programs of this type`,
      known: `R0 is ${known(f, 0)}`,
      registers: [0],
      help: `return a constant, or compare with the limits before returning`,
      fixes: () => fix.returnValue(f, Math.max(num(m, 2), Math.min(0, num(m, 3)))),
    }),
  },
  {
    code: "BPF3133",
    pattern: /unreachable insn (\d+)/,
    account: (_f, m): Account => ({
      title: `no path leads to instruction ${m[1]}`,
      required: "every instruction reachable",
      also: [{ insn: num(m, 1), message: "never reached" }],
      help: "remove the code, or the jump that goes around it",
    }),
  },
  {
    code: "BPF3134",
    pattern: /jump out of range from insn (\d+) to (-?\d+)|jump into the middle of ldimm64 insn (\d+)/,
    account: (_f, m): Account => ({
      title:
        m[3] === undefined
          ? `the jump at instruction ${m[1]} leaves its function`
          : `a jump goes into the middle of the two-slot instruction ${num(m, 3) - 1}`,
      required: "jumps to an instruction of the same function",
      also: [{ insn: Number(m[1] ?? m[3]), message: "here" }],
      help: "offsets count slots from the next instruction, and ld_imm64 takes two",
    }),
  },
  {
    code: "BPF3135",
    pattern: /last insn is not an exit or jmp/,
    account: (f): Account => ({
      title: "the program's (or a function's) last instruction falls through",
      required: "an exit or a jump at the end of every function",
      also: [{ insn: f.load.insns.length - 1, message: "the last instruction" }],
      help: "end it with a return",
      fixes: () => fix.endWithExit(f),
    }),
  },
  {
    code: "BPF3136",
    pattern: /combined stack size of (\d+) calls is (\d+)\. Too large|stack size of subprog (\d+) is (\d+)\. Too large/,
    account: (_f, m): Account => ({
      title: `functions that call each other need ${m[2] ?? m[4]} bytes of stack together`,
      required: "at most 512 bytes along every chain of calls (256 below a tail call)",
      help: "keep large buffers in a per-CPU array map, or make the calling functions' buffers smaller",
    }),
  },
  {
    code: "BPF3137",
    pattern:
      /R(\d+) (?:bitwise operator|pointer (?:arithmetic|operation)|.*?arithmetic) ?.*? prohibited|R(\d+) (?:partial copy of pointer|32-bit pointer arithmetic)|R(\d+) pointer (\S+) pointer prohibited/,
    account: (f, m): Account => {
      const r = Number(m[1] ?? m[2] ?? m[3]);
      return {
        title: "this operation is not allowed on a pointer",
        required: "only additions and subtractions of numbers, in 64 bits, on pointers that may be moved",
        known: `R${r} is ${known(f, r)}`,
        registers: [r],
        help: "compute with offsets (numbers), and add them to the pointer once",
      };
    },
  },
  {
    code: "BPF3139",
    pattern: /same insn cannot be used with different pointers/,
    account: (f): Account => ({
      title: "this access is reached with pointers of different kinds",
      required: "one kind of pointer per instruction: the kernel rewrites it",
      registers: [baseOf(f)],
      help: "write the access twice, once in each branch",
    }),
  },
  {
    code: "BPF3150",
    pattern: /misaligned (\S+) access off (\S+) size (\d+)/,
    account: (f, m): Account => ({
      title: `${m[3]} bytes are accessed at an address that is no multiple of ${m[3]}`,
      required: `an offset that is a multiple of ${m[3]}`,
      known: `R${baseOf(f)} is ${known(f, baseOf(f))}`,
      registers: [baseOf(f)],
      help: "align the variable, or access it by bytes",
    }),
  },
  {
    code: "BPF3151",
    pattern: /div by zero|invalid shift (-?\d+)/,
    account: (_f, m): Account => ({
      title: m[1] === undefined ? "a division by the constant 0" : `a shift by ${m[1]} bits`,
      required: m[1] === undefined ? "a divisor other than 0" : "0 to 63 bits (31 in 32-bit operations)",
      help: "correct the constant",
    }),
  },
  {
    code: "BPF3152",
    pattern: /math between (\w+) pointer and (-?\d+) is not allowed|(\w+) pointer offset (-?\d+) is not allowed/,
    account: (_f, m): Account => ({
      title: `the offset ${m[2] ?? m[4]} is too large for a ${m[1] ?? m[3]} pointer`,
      required: "offsets between -2^29 and 2^29",
      help: "check the computation of the offset",
    }),
  },
  {
    code: "BPF3138",
    pattern: /frame pointer is read only/,
    account: (): Account => ({
      title: "R10 cannot be written",
      required: "another register as destination",
      help: "copy R10 to another register and change that",
    }),
  },
];

export const rules: readonly Rule[] = [...memoryRules, ...resourceRules, ...callRules, ...flowRules];
