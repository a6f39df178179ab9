/** `bpfkit asm`: text in the kernel's own syntax to instructions. */
import { disassemble } from "../../asm/disasm.ts";
import { encodeInsns } from "../../asm/encode.ts";
import type { Insn } from "../../asm/insn.ts";
import { parseAsm } from "../../asm/parse.ts";
import { describeSection } from "../../elf/prog-section.ts";
import { writeObject } from "../../elf/write-object.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { readInput, writeOutput } from "../input.ts";
import { toJson } from "../output.ts";
import { UsageError } from "../args.ts";

const spec = {
  name: "asm",
  positionals: "FILE",
  summary: "assemble instructions written in the kernel's own syntax",
  arity: [1, 1],
  options: [
    {
      name: "output",
      short: "o",
      value: "OUT",
      help: "write an ELF object (OUT.o) or the bare instructions (any other name)",
    },
    { name: "section", value: "NAME", help: 'section of the program in an object, such as "xdp" (default: socket)' },
    { name: "big-endian", help: "encode for a big-endian kernel" },
    { name: "json", help: "print the instructions as JSON" },
  ],
  details: `FILE has one instruction a line, as the verifier's log and bpftool print them; "-" is standard input:

  r2 = *(u32 *)(r1 +4)        ; loads, stores, arithmetic, atomics
  if r2 > 0x40 goto big       ; labels, or pc+3
  call bpf_ktime_get_ns       ; helpers by name
big:
  exit`,
} as const;

export const asmCommand: Command = {
  spec,
  run(args) {
    const [path = "-"] = args.positionals;
    const insns = parseAsm(readInput(path).toString(), { file: path });
    const endian = args.flags.has("big-endian") ? "big" : "little";
    const output = args.value("output");
    if (output === undefined) {
      process.stdout.write(args.flags.has("json") ? `${toJson({ insns })}\n` : listing(insns, endian));
    } else if (output.endsWith(".o")) {
      writeOutput(output, objectOf(insns, args.value("section") ?? "socket", endian));
    } else {
      writeOutput(output, encodeInsns(insns, endian));
    }
    return EXIT.OK;
  },
};

/** Slot, text and bytes of every instruction. */
function listing(insns: readonly Insn[], endian: "little" | "big"): string {
  const bytes = Buffer.from(encodeInsns(insns, endian));
  return disassemble(insns, {
    comment: (slot) =>
      (
        bytes
          .subarray(slot * 8, slot * 8 + 8)
          .toString("hex")
          .match(/../g) ?? []
      ).join(" "),
  });
}

function objectOf(insns: readonly Insn[], section: string, endian: "little" | "big"): Uint8Array {
  const described = describeSection(section);
  if (described.type === 0) throw new UsageError(`--section ${section}: no program type has this section name`, spec);
  return writeObject({
    name: "asm",
    endian,
    license: "GPL",
    kernelVersion: 0,
    btf: undefined,
    maps: [],
    progs: [
      { name: "prog", section, ...described, autoload: true, insns, refs: [], funcs: [], lines: [], coreRelos: [] },
    ],
    sources: new Map(),
  });
}
