/** Attach targets on hand-made BTF: an extension's prototype, functions that no trampoline can call. */
import { exit, mov64Imm } from "../../../src/asm/index.ts";
import { type Btf, BtfBuilder } from "../../../src/btf/index.ts";
import { verify } from "../../../src/verifier/index.ts";
import { assert, suite } from "../../harness.ts";
import { bare } from "../bare.ts";

const test = suite("verifier attach targets");
const TRACING = 26;
const EXT = 28;
const XDP = 6;
const FENTRY = 24;
const FEXIT = 25;
const EINVAL = 22;
const RETURN_0 = [mov64Imm(0, 0), exit()];

type Ids = Readonly<Record<"int" | "long" | "ctx" | "other" | "pair" | "big", number>>;

/** BTF with one function of the parameters and return type chosen; returns its id. */
function withFunc(
  params: (ids: Ids) => number[],
  ret: (ids: Ids) => number = (ids) => ids.int,
  linkage: "global" | "static" = "global",
): { btf: Btf; id: number } {
  const b = new BtfBuilder();
  const struct = (name: string, size: number): number => b.add({ kind: "struct", name, size, members: [] });
  const pointer = (to: number): number => b.add({ kind: "ptr", type: to });
  const ids: Ids = {
    int: b.int("int", 4, { signed: true }),
    long: b.int("long", 8, { signed: true }),
    ctx: pointer(struct("xdp_md", 24)),
    other: pointer(struct("__sk_buff", 192)),
    pair: struct("pair", 16),
    big: struct("big", 24),
  };
  const list = params(ids).map((type, i) => ({ name: `p${i}`, type }));
  const proto = b.add({ kind: "func_proto", type: ret(ids), params: list });
  const id = b.add({ kind: "func", name: "target", type: proto, linkage });
  return { btf: b.build(), id };
}

function funcInfo(typeId: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(4, typeId, true);
  return bytes;
}

function extend(prog: ReturnType<typeof withFunc>, target: ReturnType<typeof withFunc>): ReturnType<typeof verify> {
  return verify(
    {
      ...bare(RETURN_0, EXT),
      attachBtfId: target.id,
      attachProg: {
        progType: XDP,
        expectedAttachType: 0,
        btf: target.btf,
        funcs: [{ btfId: target.id, global: true, unreliable: false }],
      },
      btf: prog.btf,
      funcInfoRecSize: 8,
      funcInfo: funcInfo(prog.id),
    },
    { logLevel: 2 },
  );
}

function attach(target: ReturnType<typeof withFunc>, expectedAttachType: number): ReturnType<typeof verify> {
  const load = { ...bare(RETURN_0, TRACING), attachBtfId: target.id, expectedAttachType, vmlinuxBtf: target.btf };
  return verify(load, { logLevel: 2 });
}

function refused(outcome: ReturnType<typeof verify>, message: string): void {
  assert.is(outcome.errno, EINVAL, outcome.log);
  assert.ok(outcome.log.includes(message), outcome.log);
}

test("an extension with its target's prototype is accepted", () => {
  const same = withFunc((t) => [t.ctx]);
  const outcome = extend(
    same,
    withFunc((t) => [t.ctx]),
  );
  assert.is(outcome.errno, 0, outcome.log);
});

test("an extension of another prototype is refused", () => {
  const target = withFunc((t) => [t.ctx]);
  refused(
    extend(
      withFunc((t) => [t.ctx, t.int]),
      target,
    ),
    "target() has 2 args while target() has 1 args\n",
  );
  refused(
    extend(
      withFunc((t) => [t.int]),
      target,
    ),
    "arg0 in target() is INT while target() has PTR\n",
  );
  refused(
    extend(
      withFunc((t) => [t.other]),
      target,
    ),
    "arg0 target(struct __sk_buff *) doesn't match target(struct xdp_md *)\n",
  );
  const prog = withFunc(
    (t) => [t.ctx],
    (t) => t.ctx,
  );
  refused(extend(prog, target), "Return type PTR of target() doesn't match type INT of target()\n");
  const sized = withFunc((t) => [t.long]);
  refused(
    extend(
      sized,
      withFunc((t) => [t.int]),
    ),
    "arg0 in target() has size 8 while target() has 4\n",
  );
  refused(
    extend(
      withFunc(
        (t) => [t.ctx],
        (t) => t.int,
        "static",
      ),
      target,
    ),
    "target() is not a global function\n",
  );
});

test("a function that no trampoline can call is no attach target", () => {
  const twelve = (t: Ids): number[] => Array.from({ length: 12 }, () => t.int);
  assert.is(attach(withFunc(twelve), FENTRY).errno, 0);
  assert.is(
    attach(
      withFunc((t) => [t.pair]),
      FENTRY,
    ).errno,
    0,
  );
  refused(
    attach(
      withFunc((t) => [...twelve(t), t.int]),
      FENTRY,
    ),
    "The function target has 13 arguments. Too many.\n",
  );
  refused(
    attach(
      withFunc((t) => [t.big]),
      FENTRY,
    ),
    "The function target arg0 type STRUCT is unsupported.\n",
  );
  refused(
    attach(
      withFunc((t) => [t.int, 0]),
      FENTRY,
    ),
    "The function target with variable args is unsupported.\n",
  );
  refused(
    attach(
      withFunc((t) => [0, t.int]),
      FENTRY,
    ),
    "The function target has malformed void argument.\n",
  );
  const returnsStruct = withFunc(
    () => [],
    (t) => t.pair,
  );
  refused(attach(returnsStruct, FEXIT), "The function target return type STRUCT is unsupported.\n");
});
