/** Running compiled programs: the module's imports, and a run for helpers to work on. */
import { FAULT, VmFault } from "../fault.ts";
import { loadPacketWord } from "../helpers/packet.ts";
import type { Image } from "../image.ts";
import { FRAME_SIZE, FRAME_STRIDE, LOW, MAP_BASE, READ, WRITE } from "../memory.ts";
import { type Argument, type Callback, Run } from "../run.ts";
import { Thrown } from "../thrown.ts";
import type { Vm } from "../vm.ts";
import type { CheckSite, TraceSite } from "./context.ts";
import { STACK_LIMIT } from "./emit.ts";
import type { IMPORTS } from "./layout.ts";
import type { Access } from "./facts.ts";
import { translate } from "./translate.ts";

const MAX_FUEL = 0x7fff_ffff;

/**
 * A run of compiled code. Checked are the bounds of the VM's memory as a whole and the budget: what
 * the verifier would refuse is found by the interpreter.
 */
export class JitRun extends Run {
  override readonly checked = false;
  #compiled: Compiled;
  #slot = 0;

  constructor(vm: Vm, compiled: Compiled) {
    super(vm, compiled.image);
    this.#compiled = compiled;
    this.setReg(10, this.memory.stackBase + FRAME_SIZE);
  }

  override restart(): void {
    super.restart();
    this.setReg(10, this.memory.stackBase + FRAME_SIZE);
  }

  override invoke(slot: number, args: readonly Argument[], budget: number): void {
    this.restart();
    args.forEach(({ value }, i) => this.setReg(i + 1, value));
    this.#compiled.fuel.value = Math.min(budget, MAX_FUEL);
    this.#enter(this.#compiled, slot);
    this.checkLeaks();
  }

  override get insn(): number {
    return this.#slot;
  }
  /** Says where the program is, for faults. */
  at(slot: number): this {
    this.#slot = slot;
    return this;
  }

  override call(callback: Callback): void {
    const frame = this.lo(10);
    const next = frame + FRAME_STRIDE;
    if (next > STACK_LIMIT(this.memory.stackBase)) throw this.tooDeep();
    const call = this.#compiled.entry(callback.slot);
    let previous: number | undefined;
    while (callback.next(previous)) {
      this.setReg(10, next);
      this.#compiled.sync();
      call();
      previous = this.lo(0);
    }
    this.setReg(10, frame);
  }

  /** The program threw: its exception callback makes the result, or the cookie is it. */
  #caught(compiled: Compiled, { cookie }: Thrown): void {
    this.acquired.clear();
    const slot = this.vm.exceptionCallback(this.image);
    if (slot === undefined) return this.ret64(cookie);
    this.memory.regs64[1] = cookie;
    this.setReg(10, this.memory.stackBase + FRAME_SIZE);
    return this.#enter(compiled, slot);
  }

  /** Runs the program to its end. @throws VmFault */
  run(budget: number): void {
    this.#compiled.fuel.value = Math.min(budget, MAX_FUEL);
    this.#enter(this.#compiled);
    this.checkLeaks();
  }

  /** Goes on as another program, with what fuel is left. True when there is one to go on as. */
  tail(slot: number): boolean {
    this.at(slot).helper(12);
    const target = this.tailTarget;
    if (target === undefined) return false;
    this.tailTarget = undefined;
    const from = this.#compiled;
    const to = this.vm.compiled(target, from.traced);
    to.fuel.value = from.fuel.value;
    this.setReg(1, this.ctx);
    this.image = target;
    this.#compiled = to;
    this.#enter(to);
    this.#compiled = from;
    this.image = from.image;
    from.fuel.value = to.fuel.value;
    return true;
  }

  #enter(compiled: Compiled, slot = 0): void {
    const before = compiled.current;
    compiled.current = this;
    compiled.sync();
    try {
      compiled.entry(slot)();
    } catch (error) {
      if (error instanceof Thrown) return this.#caught(compiled, error);
      if (error instanceof VmFault) throw error;
      if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
        throw this.fault(FAULT.OUT_OF_BOUNDS, `an access outside the memory: ${error.message}`);
      }
      throw error;
    } finally {
      compiled.current = before;
    }
  }
}

/** A program's WebAssembly. */
export class Compiled {
  readonly image: Image;
  /** Its code writes down the path it takes. */
  readonly traced: boolean;
  readonly fuel = new WebAssembly.Global({ value: "i32", mutable: true }, 0);
  current: JitRun | undefined;
  readonly #vm: Vm;
  readonly #span = new WebAssembly.Global({ value: "i64", mutable: true }, 0n);
  readonly #entries = new Map<number, () => void>();
  #top = 0;

  constructor(vm: Vm, image: Image, nullReads: boolean, trace?: TraceSite) {
    this.#vm = vm;
    this.image = image;
    this.traced = trace !== undefined;
    const { memory } = vm;
    const { bytes, checks } = translate({
      image,
      nullReads,
      trace,
      top: memory.top,
      stackEnd: STACK_LIMIT(memory.stackBase),
      mapAt: (offset) => vm.mapAt(offset),
    });
    const run = (): JitRun => this.current!;
    const imports: Record<keyof typeof IMPORTS, (...args: number[]) => unknown> = {
      fault: (check, lo, hi) => {
        throw this.#badAccess(run(), checks[check!]!, lo!, hi!);
      },
      budget: (slot) => {
        throw run().at(slot!).fault(FAULT.BUDGET, "more instructions were executed than the budget allows", {
          help: "end the loop, or raise the budget",
        });
      },
      depth: (slot) => {
        throw run().at(slot!).tooDeep();
      },
      helper: (id, slot) => {
        run().at(slot!).helper(id!);
        this.sync();
      },
      kfunc: (slot) => {
        vm.kfunc(run().at(slot!), image.kfuncs.get(slot!));
        this.sync();
      },
      tail: (slot) => (run().tail(slot!) ? 1 : 0),
      packet: (offset, size, slot) => (loadPacketWord(run().at(slot!), offset!, size!) ? 1 : 0),
      lookup: (map, key) => vm.mapAt((map! >>> 0) - MAP_BASE)!.lookupAt(key!),
      update: (map, key, value, flags) => {
        const result = vm.mapAt((map! >>> 0) - MAP_BASE)!.updateAt(key!, value!, flags!);
        this.sync();
        return result;
      },
      illegal: (slot) => {
        throw run()
          .at(slot!)
          .fault(FAULT.ILLEGAL, image.illegal.get(slot!) ?? `there is no instruction to run at ${slot}`);
      },
    };
    const module = new WebAssembly.Module(bytes);
    const instance = new WebAssembly.Instance(module, {
      vm: { ...imports, memory: memory.memory, fuel: this.fuel, span: this.#span },
    });
    for (const start of image.functions) this.#entries.set(start, instance.exports[`f${start}`] as () => void);
  }

  /** The fault of the first of these accesses that is out of bounds. */
  #badAccess(run: JitRun, accesses: CheckSite, lo: number, hi: number): VmFault {
    const lowest = ((BigInt(hi) << 32n) | BigInt(lo >>> 0)) + BigInt(LOW);
    const address = (a: Access): bigint => BigInt.asUintN(64, lowest + BigInt(a.off));
    const outside = (a: Access): boolean =>
      address(a) < BigInt(LOW) || address(a) + BigInt(a.size) > BigInt(this.#vm.memory.top);
    const bad = accesses.find(outside) ?? accesses[0]!;
    const at = address(bad);
    const [low, high] = [Number(at & 0xffff_ffffn), Number(BigInt.asIntN(32, at >> 32n))];
    return run.at(bad.slot).badAccess(low, high, bad.size, bad.write ? WRITE : READ, 0);
  }

  entry(slot: number): () => void {
    return this.#entries.get(slot)!;
  }

  /** Tells the code how far the memory reaches: helpers may have made more of it. */
  sync(): void {
    const { top } = this.#vm.memory;
    if (top === this.#top) return;
    this.#top = top;
    this.#span.value = BigInt(top - LOW);
  }

  start(): JitRun {
    return new JitRun(this.#vm, this);
  }
}

/** Translates, compiles and links a program. */
export function compileImage(vm: Vm, image: Image, nullReads: boolean, trace?: TraceSite): Compiled {
  return new Compiled(vm, image, nullReads, trace);
}
