/**
 * Every message of the front end, one row each. `{name}` is filled in by
 * `report()`; `help` says what to write instead. Codes are stable.
 *
 * BPF1xxx: the language. BPF2xxx: types and values. BPF3xxx: maps, helpers and
 * contexts. BPF4xxx: kernel memory. BPF5xxx: limits. BPF6xxx: lints (warnings).
 */
export interface Message {
  readonly text: string;
  readonly help?: string;
  readonly severity?: "warning";
}

export const MESSAGES = {
  BPF1001: { text: "{what} cannot be compiled to BPF", help: "{instead}" },
  BPF1002: { text: "the name '{name}' is not defined here" },
  BPF1003: { text: "'{name}' is a constant and cannot be assigned" },
  BPF1004: {
    text: "the captured value '{name}' cannot be assigned from a probe",
    help: "use a global: `export const {name} = global(u64, 0)` and assign `{name}.value`",
  },
  BPF1005: { text: "'{name}' is used before it is declared" },
  BPF1006: {
    text: "this loop has no bound that the kernel could prove",
    help: "use `for (const i of range(n))`, or count with a variable that is compared with a constant",
  },
  BPF1007: { text: "recursion is not possible in BPF: {cycle}", help: "write a loop with a bound instead" },
  BPF1008: { text: "no enclosing {what} to {jump}" },
  BPF1009: { text: "'{name}' is not a function that can be called in a probe" },
  BPF1010: { text: "'{name}' takes {expected}, {got} given" },
  BPF1011: { text: "this expression has no effect that BPF could keep: it gives {what}" },
  BPF1012: { text: "'{name}' is already declared in this scope" },
  BPF1013: { text: "a probe is called by the kernel with (ctx, bpf): {got} parameters are too many" },
  BPF1014: {
    text: "the annotation '{annotation}' would have to change the code, but types never do",
    help: "convert the value: `{fix}`",
  },
  BPF1015: { text: "'{name}' cannot be captured: {why}", help: "{instead}" },
  BPF1016: {
    text: "a function's paths return different things: {first} and {second}",
    help: "return numbers, or one kind of value, from every path",
  },
  BPF1017: { text: "a program returns an integer, not {what}" },
  BPF1018: {
    text: "'{name}' needs a value here: declare it with an initial value",
    help: "`let {name} = 0` or `let {name} = u64(0)`",
  },
  BPF1019: { text: "the object has no field '{name}'", help: "{instead}" },
  BPF1020: { text: "only {what} can be destructured" },
  BPF2001: { text: "{what} mixes a signed and an unsigned integer", help: "cast one side, for example `{fix}`" },
  BPF2002: { text: "JavaScript gives {js} here, 64-bit integer arithmetic gives {int}", help: "{fix}" },
  BPF2003: { text: "{value} is not a whole number: probes compute with integers" },
  BPF2004: { text: "{value} does not fit 64 bits" },
  BPF2005: {
    text: "the number {value} is above 2^53 and not exact in JavaScript",
    help: "write it as a bigint literal: `{fix}`",
  },
  BPF2006: { text: "expected {expected}, found {found}" },
  BPF2007: { text: "{what} may be undefined here", help: "check it first: `{check}`, or give a default with `??`" },
  BPF2008: { text: "'{name}' holds {have} and cannot take {got}", help: "{fix}" },
  BPF2009: { text: "{struct} has no field '{field}'{hint}" },
  BPF2010: { text: "the field '{field}' of {struct} is missing" },
  BPF2011: {
    text: "{value} does not fit {type} ({range})",
    help: "cast it if the truncation is meant: `{type}({value})`",
  },
  BPF2012: { text: "{what} is read-only" },
  BPF2013: { text: "division by zero" },
  BPF2014: { text: "the shift count {count} is outside 0-63" },
  BPF2015: { text: "{what} cannot be compared with {other}" },
  BPF2016: { text: "index {index} is outside the {length} elements" },
  BPF2017: { text: "{op} is not defined for {what}" },
  BPF2018: { text: "the string of {have} bytes does not fit {type} with its NUL" },
  BPF2019: { text: "a string is needed whose length is known here", help: "give the size: `{fix}`" },
  BPF2020: { text: "{name} of {what} is {got}, expected {expected}" },
  BPF3001: { text: "{map} has no method '{method}'{hint}" },
  BPF3002: { text: "bpf.{name} does not exist{hint}" },
  BPF3003: { text: "bpf.{name} cannot be used in {progType} programs", help: "it is available in {where}" },
  BPF3004: { text: "{value} has no field '{field}'{hint}" },
  BPF3005: { text: "the format of tracepoint {name} is not known", help: "{instead}" },
  BPF3006: {
    text: "the memory behind this pointer could be user's or kernel's",
    help: "say it: `bpf.userStr(p)` or `bpf.kernelStr(p)`",
  },
  BPF3007: { text: "argument {arg} of {name} must be {expected}, found {found}" },
  BPF3008: { text: "kernel function {name} is not in this kernel's BTF" },
  BPF3009: { text: "{name} cannot be read by a program, only by the loader" },
  BPF3010: { text: "{name} has to be given a name: export it, or give `name`" },
  BPF3011: {
    text: "this room was reserved outside of the function that would {method} it",
    help: "call `{map}.{method}()` in the function that called `{map}.reserve()`",
  },
  BPF3012: {
    text: "nothing can be called while a spin lock is held",
    help: "compute before `bpf.locked`, and only read and write fields in it",
  },
  BPF3013: {
    text: "{what} cannot be used in {progType} programs",
    help: "the kernel refuses it in programs that trace",
  },
  BPF3014: { text: "{map} cannot hold {what}: maps of its type have none", help: "use {instead}" },
  BPF4001: { text: "no type named {name} in this kernel's BTF{hint}" },
  BPF4002: {
    text: "kernel types need BTF, and none was given",
    help: "run on Linux with /sys/kernel/btf/vmlinux, or pass `--btf FILE`",
  },
  BPF4003: { text: "{what} is a pointer without a type", help: 'say what it points to: `bpf.cast(p, "struct_name")`' },
  BPF4004: { text: "memory of {what} cannot be written" },
  BPF4006: { text: "programs cannot implement struct {struct} on this kernel: it registers no such interface" },
  BPF4005: { text: "{what} is too large to copy by value ({size} bytes)", help: "read its fields" },
  BPF5001: {
    text: "the variables of this function need {size} bytes of stack, 512 are allowed",
    help: "use smaller char(n), or emit directly: `events.emit({ … })`",
  },
  BPF5002: { text: "this expression is too large to unroll: {count} iterations" },
  BPF6001: { text: "this comparison is always {value}: the left side is unsigned", severity: "warning" },
  BPF6003: {
    text: "this is an address in {is} memory, read as {said} memory",
    help: "{fix}",
    severity: "warning",
  },
  BPF6004: {
    text: "{name} can fail, and its result is dropped",
    help: "check it: `if ({name}(…) < 0) return;`",
    severity: "warning",
  },
  BPF6005: {
    text: "{name} only prepares the redirection: the program has to return its result",
    help: "write `return {name}(…)`",
    severity: "warning",
  },
  BPF6006: {
    text: "every {target} {sends}, and there are very many",
    help: "filter first, for example `if (bpf.pid() !== target.value) return;`, or count in a map",
    severity: "warning",
  },
  BPF6002: { text: "unreachable code", severity: "warning" },
} as const satisfies Record<string, Message>;

export type MessageCode = keyof typeof MESSAGES;

/** Fills `{name}` in a template. */
export function fill(template: string, args: Readonly<Record<string, string | number | bigint>>): string {
  return template.replace(/\{(\w+)\}/g, (all, name: string) => (name in args ? String(args[name]) : all));
}
