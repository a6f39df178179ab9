import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BtfBuilder } from "../../src/btf/builder.ts";
import { Btf } from "../../src/btf/btf.ts";
import { CompileCache } from "../../src/load/compile-cache.ts";
import { compileForCache } from "../../src/load/compile-cache-write.ts";
import { loadModule } from "../../src/load/module-loader.ts";
import type { Startable } from "../../src/load/start.ts";
import * as own from "../../src/probe/index.ts";
import type { Kernel } from "../../src/syscall/kernel.ts";
import { assert, suite } from "../harness.ts";
import { requires } from "../kernel.ts";

const test = suite("compile cache");
const base = mkdtempSync(join(tmpdir(), "compile-cache-"));
test.after(() => rmSync(base, { recursive: true, force: true }));

const format = (offset: number): string =>
  `name: ev\nID: 7\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\tfield:int n;\toffset:${offset};\tsize:4;\tsigned:1;\n\nprint fmt: "%d", REC->n\n`;
/** A kernel with one tracepoint, whose field is at `offset`. */
const kernelWith = (offset: number): Kernel =>
  ({
    release: "6.18.0",
    readDir: () => [],
    readFile: () => new TextEncoder().encode(format(offset)),
  }) as unknown as Kernel;
const kernel = kernelWith(8);
const btf = Btf.parse(new BtfBuilder().encode());

const PROBE = `import { config, hash, tracepoint, u32, u64 } from "bpfkit";
const limit: number = 10;
export const seen = hash(u32, u64, { maxEntries: 64 });
export const floor = config(u32, 3);
export const onEvent = tracepoint("cat:ev", (ctx, bpf) => {
  if (ctx.n > limit && bpf.pid() > floor.value) seen.add(ctx.n, 1);
});
export default () => "main";
`;

class Setup {
  readonly directory = mkdtempSync(join(base, "case-"));
  readonly file = join(this.directory, "probe.ts");
  readonly caches = join(this.directory, "cache");

  constructor(text = PROBE) {
    writeFileSync(this.file, text);
  }

  /** What the next start does: the cached result, or undefined when it compiles (and fills the cache). */
  async start(options: { version?: string; kernel?: Kernel; keep?: boolean } = {}): Promise<Startable | undefined> {
    const cache = new CompileCache(this.file, { directory: this.caches, version: options.version ?? "1" });
    const { exports, modules } = await loadModule(this.file, {
      own,
      resolveOwn: () => join(import.meta.dirname, "../../src/probe/index.ts"),
      cache,
    });
    const found = cache.lookup(exports, modules, options.kernel ?? kernel);
    if (found === undefined && options.keep !== false)
      this.compiled = this.#compile(cache, exports, modules, options.kernel ?? kernel);
    return found;
  }
  compiled: Startable | undefined;

  #compile(
    cache: CompileCache,
    exports: Readonly<Record<string, unknown>>,
    modules: Parameters<CompileCache["lookup"]>[1],
    on: Kernel,
  ): Startable {
    const { compiled, keep } = compileForCache(cache, exports, { name: "probe", kernel: on, btf, modules });
    keep();
    return compiled;
  }

  get entry(): string {
    const names = readdirSync(this.caches);
    assert.is(names.length, 1);
    return join(this.caches, names[0] ?? "");
  }
}

/** A cache that was filled and serves the next start. */
async function warm(text?: string): Promise<Setup> {
  const setup = new Setup(text);
  assert.is(await setup.start(), undefined);
  assert.ok(await setup.start());
  return setup;
}

test("the second start gets what the first one compiled", async () => {
  const setup = await warm();
  const cached = await setup.start();
  const first = setup.compiled;
  assert.ok(cached !== undefined && first !== undefined);
  assert.equal(
    cached.spec.progs.map((p) => p.insns),
    first.spec.progs.map((p) => p.insns),
  );
  assert.equal([...(cached.spec.btf ?? [])], [...(first.spec.btf ?? [])]);
  assert.equal(
    cached.spec.maps.map((m) => [m.name, m.mapExtra, m.data && [...m.data], m.frozen]),
    first.spec.maps.map((m) => [m.name, m.mapExtra, m.data && [...m.data], m.frozen]),
  );
  assert.equal([...cached.spec.sources], [...first.spec.sources]);
  assert.equal(
    [[...cached.schemas.keys()], [...cached.globals.keys()], [...cached.programs.keys()]],
    [["seen"], ["floor"], ["onEvent"]],
  );
  assert.is(cached.schemas.get("seen")?.key, own.u32);
});

test("nobody else may read or write an entry", async () => {
  const setup = await warm();
  assert.is(statSync(setup.caches).mode & 0o777, 0o700);
  assert.is(statSync(setup.entry).mode & 0o777, 0o600);
});

test("a changed source, captured value, export, build or layout is compiled anew, and kept", async () => {
  const changes: [string, (setup: Setup) => { version?: string; kernel?: Kernel } | void][] = [
    ["a comment", (s) => writeFileSync(s.file, `${PROBE}// more\n`)],
    ["a value", (s) => writeFileSync(s.file, PROBE.replace("limit: number = 10", "limit: number = 11"))],
    ["an export", (s) => writeFileSync(s.file, PROBE.replace("maxEntries: 64", "maxEntries: 65"))],
    ["a new export", (s) => writeFileSync(s.file, `${PROBE}export const other = hash(u32, u32);\n`)],
    ["the build", () => ({ version: "2" })],
    ["the tracepoint's layout", () => ({ kernel: kernelWith(12) })],
  ];
  for (const [what, change] of changes) {
    const setup = await warm();
    const options = change(setup) ?? {};
    assert.is(await setup.start(options), undefined, what);
    assert.ok(await setup.start(options), `${what}: kept`);
  }
});

test("a captured value that the source does not decide is compared", async () => {
  const from = new Setup(PROBE.replace("= 10", "= Number(process.env.CACHE_TEST_LIMIT)"));
  process.env["CACHE_TEST_LIMIT"] = "1";
  assert.is(await from.start(), undefined);
  assert.ok(await from.start());
  process.env["CACHE_TEST_LIMIT"] = "2";
  assert.is(await from.start(), undefined);
  assert.ok(await from.start());
  delete process.env["CACHE_TEST_LIMIT"];
});

test("another kernel has entries of its own", async () => {
  const setup = await warm();
  const text = readFileSync(setup.entry, "latin1");
  const identity = new CompileCache(setup.file, { directory: setup.caches, version: "1" }).identity;
  assert.ok(text.includes(JSON.stringify(identity).slice(1, -1)), "the identity names version, release and build id");
  // The same length, so that the entry is whole: only its kernel differs.
  const other = text.replaceAll(identity.slice(0, 24), identity.slice(0, 23) + (identity[23] === "x" ? "y" : "x"));
  assert.is.not(other, text);
  writeFileSync(setup.entry, other, "latin1");
  assert.is(await setup.start(), undefined);
});

test("a damaged entry is compiled anew: cut at any place, any bit flipped", async () => {
  const setup = await warm();
  const whole = readFileSync(setup.entry);
  const cuts = [0, 1, 7, whole.length >> 1, (whole.length >> 1) + 8, whole.length - 1];
  for (const length of cuts) {
    writeFileSync(setup.entry, whole.subarray(0, length));
    assert.is(await setup.start({ keep: false }), undefined, `cut to ${length}`);
  }
  for (let i = 0; i < 64; i++) {
    const at = Math.floor((i * whole.length) / 64);
    const bad = Buffer.from(whole);
    bad[at] = (bad[at] ?? 0) ^ (1 << (i % 8));
    writeFileSync(setup.entry, bad);
    assert.is(await setup.start({ keep: false }), undefined, `bit ${i % 8} of byte ${at}`);
  }
  // Twice the same rubbish is no entry either.
  writeFileSync(setup.entry, Buffer.concat([Buffer.from("rubbish!"), Buffer.from("rubbish!")]));
  assert.is(await setup.start(), undefined);
  assert.ok(await setup.start());
});

test("what somebody else could have written is not used", async () => {
  const setup = await warm();
  chmodSync(setup.entry, 0o622);
  assert.is(await setup.start({ keep: false }), undefined, "a file that others may write");
  chmodSync(setup.entry, 0o600);
  chmodSync(setup.caches, 0o777);
  assert.is(await setup.start({ keep: false }), undefined, "a directory that others may write");
  assert.is(await setup.start(), undefined);
  assert.ok(existsSync(setup.entry), "and nothing is written there");
  chmodSync(setup.caches, 0o700);
  assert.ok(await setup.start());
});

test("another user's entry is not used", async () => {
  requires({ root: true });
  const setup = await warm();
  chownSync(setup.entry, 12345, 12345);
  assert.is(await setup.start({ keep: false }), undefined);
});

test("a directory that cannot be made costs the cache, not the start", async () => {
  const setup = new Setup();
  mkdirSync(setup.caches);
  rmSync(setup.caches, { recursive: true });
  writeFileSync(setup.caches, "a file");
  assert.is(await setup.start(), undefined);
  assert.ok(setup.compiled);
  assert.is(await setup.start(), undefined);
});
