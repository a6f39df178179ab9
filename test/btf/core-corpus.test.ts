/**
 * CO-RE over the kernel selftests' objects against what libbpf gave the kernel (recorded loads). Needs
 * `CORPUS`: a directory with `progs/*.o`, `loads/progs/OBJECT/PROGRAM.json` and `vmlinux.btf`.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeInsns, type Insn } from "../../src/asm/index.ts";
import { BpfkitError } from "../../src/core/index.ts";
import { Btf, CoreResolver, type CoreResult } from "../../src/btf/index.ts";
import { readObject } from "../../src/elf/index.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("btf core corpus");

interface Tally {
  programs: number;
  equal: number;
  relos: number;
  poisoned: number;
  refused: number;
  differences: string[];
  unread: string[];
  kinds: Map<string, number>;
}

function sameInsn(a: Insn | undefined, b: Insn | undefined): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.opcode === b.opcode &&
    a.dst === b.dst &&
    a.src === b.src &&
    a.off === b.off &&
    a.imm === b.imm
  );
}

function compareSuite(corpus: string, name: string, target: Btf): Tally {
  const tally: Tally = {
    programs: 0,
    equal: 0,
    relos: 0,
    poisoned: 0,
    refused: 0,
    differences: [],
    unread: [],
    kinds: new Map(),
  };
  for (const file of readdirSync(join(corpus, name))) {
    if (!file.endsWith(".o")) continue;
    const object = file.slice(0, -2);
    const loads = join(corpus, "loads", name, object);
    if (!existsSync(loads)) continue;
    let spec;
    try {
      spec = readObject(new Uint8Array(readFileSync(join(corpus, name, file))), { name: file });
    } catch (error) {
      if (!(error instanceof BpfkitError)) throw error;
      tally.unread.push(`${object}: ${error.message}`);
      continue;
    }
    if (spec.btf === undefined) continue;
    const local = Btf.parse(spec.btf, { what: file });
    const resolver = new CoreResolver([targetOf(corpus, local) ?? target]);
    for (const prog of spec.progs) {
      const record = join(loads, `${prog.name}.json`);
      if (prog.coreRelos.length === 0 || !existsSync(record)) continue;
      const recorded = JSON.parse(readFileSync(record, "utf8")) as { insns: string };
      const theirs = decodeInsns(new Uint8Array(Buffer.from(recorded.insns, "hex")));
      const { insns, results } = resolver.relocate({ insns: prog.insns, relos: prog.coreRelos, local });
      tally.programs++;
      const wrong: string[] = [];
      if (insns.length !== theirs.length) wrong.push(`${insns.length} instructions, libbpf ${theirs.length}`);
      for (const r of results) {
        tally.relos++;
        tally.kinds.set(r.kind, (tally.kinds.get(r.kind) ?? 0) + 1);
        if (r.status === "poisoned") tally.poisoned++;
        if (r.status === "error") tally.refused++;
        if (wrong.length === 0 && !sameRelo(insns, theirs, r)) wrong.push(describe(insns, theirs, r));
      }
      if (wrong.length === 0) tally.equal++;
      else tally.differences.push(`${object}/${prog.name}: ${wrong.join("; ")}`);
    }
  }
  return tally;
}

/** Some objects name the object whose BTF libbpf took for the kernel's (`__btf_path` of test_loader.c). */
function targetOf(corpus: string, local: Btf): Btf | undefined {
  for (const type of local.types()) {
    const path =
      type.kind === "decl_tag"
        ? /^(?:comment:)?(?:\d+:)?test_btf_path=(.*?)(?:\.bpf)?\.o$/.exec(type.name)?.[1]
        : undefined;
    if (path === undefined) continue;
    const bytes = new Uint8Array(readFileSync(join(corpus, "progs", `${path}.o`)));
    const { btf } = readObject(bytes, { name: path });
    if (btf === undefined) throw new Error(`${path}.o has no .BTF`);
    return Btf.parse(btf, { what: path });
  }
  return undefined;
}

function sameRelo(insns: readonly Insn[], theirs: readonly Insn[], r: CoreResult): boolean {
  const at = r.relo.insn;
  return sameInsn(insns[at], theirs[at]) && (insns[at]?.opcode !== 0x18 || sameInsn(insns[at + 1], theirs[at + 1]));
}

function describe(insns: readonly Insn[], theirs: readonly Insn[], r: CoreResult): string {
  const at = r.relo.insn;
  return `${r.kind} ${r.path} at ${at}: ${JSON.stringify(insns[at])}, libbpf ${JSON.stringify(theirs[at])} (${r.status} ${r.diagnostic?.message ?? ""})`;
}

for (const name of ["progs", "progs-v4", "progs-v2"]) {
  test(
    `${name}: the same instructions as libbpf`,
    () => {
      requires({ env: "CORPUS" });
      const corpus = process.env["CORPUS"]!;
      const target = Btf.parse(new Uint8Array(readFileSync(join(corpus, "vmlinux.btf"))), { what: "vmlinux" });
      const t = compareSuite(corpus, name, target);
      const kinds = [...t.kinds].map(([k, n]) => `${k} ${n}`).join(", ");
      console.log(
        `  ${name}: ${t.equal} of ${t.programs} programs equal; ${t.relos} relocations (${kinds}), ${t.poisoned} poisoned, ${t.refused} refused; ${t.unread.length} objects unread`,
      );
      for (const line of [...t.differences, ...t.unread]) console.log(`    ${line}`);
      assert.ok(t.programs > 0, "no program with relocations was compared");
      assert.equal(t.differences, []);
    },
    { timeoutMs: 300_000 },
  );
}

test("every variant of the core_reloc selftests resolves, or fails where it must", () => {
  requires({ env: "CORPUS" });
  const folder = join(process.env["CORPUS"]!, "progs");
  const open = (file: string) => readObject(new Uint8Array(readFileSync(join(folder, file))), { name: file });
  let compared = 0;
  for (const file of readdirSync(folder)) {
    const variant = /^btf__core_reloc_(.*)\.o$/.exec(file)?.[1];
    if (variant === undefined) continue;
    const program = `test_core_reloc_${variant.replace(/__.*/, "")}.o`;
    // Programs that only use what they find to exist have unreachable relocations that fail.
    if (!existsSync(join(folder, program)) || variant.startsWith("existence")) continue;
    const spec = open(program);
    const local = Btf.parse(spec.btf!);
    const resolver = new CoreResolver([Btf.parse(open(file).btf!)]);
    const failed = spec.progs.flatMap((p) =>
      resolver.relocate({ insns: p.insns, relos: p.coreRelos, local }).results.filter((r) => r.status !== "ok"),
    );
    const messages = failed.map((r) => r.diagnostic?.message).join("; ");
    assert.is(failed.length > 0, variant.includes("__err_"), `${variant}: ${messages}`);
    compared++;
  }
  assert.ok(compared >= 55, `${compared} variants compared`);
});
