/** `bpfkit sim`: one program, one run, no kernel. */
import { basename } from "node:path";
import { BpfkitError } from "../../core/errors.ts";
import { readObject } from "../../elf/object.ts";
import { loadedModules } from "../../host/loaded-modules.ts";
import { type RunInput, type SimulateOptions, type Simulation, simulate } from "../../testing/index.ts";
import type { FieldValue, Fields } from "../../testing/world/types.ts";
import { readPcap } from "../../testing/world/packet/pcap.ts";
import { describeChanges } from "../../testing/world/packet/print.ts";
import { type ParsedArgs, UsageError } from "../args.ts";
import type { Command, Host } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { readInput } from "../input.ts";
import { moduleOfFile } from "../module-of-file.ts";
import { printable, toJson } from "../output.ts";
import { mapsText } from "../sim-show.ts";
import { traceRun } from "../sim-trace.ts";

const spec = {
  name: "sim",
  positionals: "FILE.ts|FILE.o",
  summary: "run a program once without a kernel, and show what it did",
  arity: [1, 1],
  options: [
    {
      name: "program",
      short: "p",
      value: "NAME",
      repeat: true,
      help: "the program, or several to be run in this order",
    },
    {
      name: "ctx",
      value: "JSON",
      help: 'its context by field names: \'{"filename": "/bin/ls"}\' (@FILE reads a file)',
    },
    { name: "packet", value: "HEX", help: "the packet, from its Ethernet header on" },
    { name: "pcap", value: "FILE", help: "a run for each packet of a pcap or pcapng file" },
    { name: "task", value: "JSON", help: 'the current task: \'{"pid": 42, "comm": "bash", "parent": {"pid": 1}}\'' },
    { name: "set", value: "NAME=VALUE", repeat: true, help: "value of a config() or global() (may be repeated)" },
    { name: "map", value: "NAME=JSON", repeat: true, help: "entries of a map before the run: [[key, value], …]" },
    {
      name: "kernel",
      value: "VERSION",
      help: "whose rules and types: 6.1, 6.12, 6.18 (default), live, or any with --btf",
    },
    { name: "btf", value: "FILE", help: "kernel types instead of the packaged ones" },
    { name: "cpus", value: "N", help: "possible CPUs (default 1)" },
    { name: "seed", value: "N", help: "of random numbers (default 1)" },
    { name: "repeat", value: "N", help: "so many runs; the last one is shown" },
    { name: "unverified", help: "run what the verifier rejects" },
    { name: "trace", help: "every instruction between the source lines, with the registers that it changed" },
    {
      name: "break",
      value: "LINE",
      repeat: true,
      help: "registers each time that a line is reached: 12, or file.ts:12",
    },
    { name: "json", help: "one JSON object a run and line" },
  ],
  details: `In JSON, "123n" is an integer beyond 2^53 and "hex:0a0b" bytes. Text becomes what the field is: characters in
the context, or a pointer to the text, in the process's memory for arguments of system calls.

Exit codes: 0 it ran · 1 it was rejected or misbehaved, or the file is at fault · 2 wrong arguments`,
} as const;

const BUDGET = 100_000_000;
const TRACE_LIMIT = 10_000;

interface Packet {
  readonly data: Uint8Array | undefined;
}

export const simCommand: Command = {
  spec,
  async run(args, host) {
    const [path = ""] = args.positionals;
    const repeat = count(args, "repeat") ?? 1;
    const breaks = args.values.get("break") ?? [];
    for (const place of breaks)
      if (!/^(?:.*:)?\d+$/.test(place)) throw new UsageError(`--break ${place}: expected LINE or FILE:LINE`, spec);
    const traced = args.flags.has("trace") || breaks.length > 0;
    const ctx = json(args, "ctx") ?? {};
    if (!(ctx instanceof Uint8Array) && (typeof ctx !== "object" || ctx === null || Array.isArray(ctx)))
      throw new UsageError('--ctx: expected an object with the context\'s fields, or "hex:…"', spec);
    const packets = packetsOf(args);
    const sim = await simulation(path, args, host, traced);
    setWorld(sim, args);
    const programs = chosen(sim, args.values.get("program"));
    const asJson = args.flags.has("json");
    process.stdout.on("error", () => process.exit(EXIT.OK));
    for (const name of programs) {
      for (const { data } of packets) {
        const input = inputOf(ctx as Fields | Uint8Array, data);
        if (traced) traceOne(sim, name, input, breaks, asJson);
        else runOne(sim, name, input, data, repeat, asJson);
      }
    }
    if (!asJson) process.stdout.write(mapsText(sim.snapshot(), (name) => sim.handle(name)));
    return EXIT.OK;
  },
};

async function simulation(path: string, args: ParsedArgs, host: Host, traced: boolean): Promise<Simulation> {
  const btf = args.value("btf");
  const cpus = count(args, "cpus");
  const seed = count(args, "seed");
  const kernel = args.value("kernel");
  const options: SimulateOptions = {
    coverage: false,
    name: basename(path).replace(/\.[^.]*$/, ""),
    config: settings(args.values.get("set") ?? []),
    unverified: args.flags.has("unverified"),
    ...(traced ? { engine: "interp" as const } : {}),
    ...(kernel === undefined ? {} : { kernel }),
    ...(btf === undefined ? {} : { btf: readInput(btf) }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(seed === undefined ? {} : { seed }),
  };
  if (path.endsWith(".o")) return simulate(readObject(readInput(path), { name: basename(path, ".o") }), options);
  const module = await moduleOfFile(path, host);
  for (const [url, loaded] of module.modules) loadedModules().set(url, loaded);
  return simulate(module.exports, options);
}

function setWorld(sim: Simulation, args: ParsedArgs): void {
  const task = json(args, "task");
  if (task !== undefined) sim.task(task as never);
  for (const text of args.values.get("map") ?? []) {
    const at = text.indexOf("=");
    const name = text.slice(0, at);
    const entries = at <= 0 ? undefined : parse(text.slice(at + 1), `--map ${name}`);
    if (!Array.isArray(entries) || entries.some((e) => !Array.isArray(e) || e.length !== 2))
      throw new UsageError(`--map ${text}: expected NAME=[[key, value], …]`, spec);
    for (const [key, value] of entries as [unknown, unknown][]) sim.set(name, key as never, value as never);
  }
}

function chosen(sim: Simulation, wanted: readonly string[] | undefined): readonly string[] {
  if (wanted !== undefined) return wanted;
  if (sim.programs.length === 1) return sim.programs;
  throw new UsageError(`there are several programs: choose with --program one of ${sim.programs.join(", ")}`, spec);
}

function inputOf(ctx: Fields | Uint8Array, packet: Uint8Array | undefined): RunInput {
  if (packet === undefined) return ctx;
  if (ctx instanceof Uint8Array)
    throw new UsageError("--packet goes with the fields of a context, not with its bytes", spec);
  return { ...ctx, packet };
}

function runOne(
  sim: Simulation,
  name: string,
  input: RunInput,
  packet: Uint8Array | undefined,
  repeat: number,
  asJson: boolean,
): void {
  let outcome = sim.run(name, input);
  for (let i = 1; i < repeat; i++) outcome = sim.run(name, input);
  if (asJson) {
    const { returnValue, ctx, printed, actions } = outcome;
    process.stdout.write(
      `${toJson({ program: name, kernel: sim.kernel, returnValue, ...(outcome.packet.length === 0 ? {} : { packet: outcome.packet }), ctx, printed, actions, maps: sim.snapshot() })}\n`,
    );
    return;
  }
  process.stdout.write(`${name} returned ${outcome.returnValue} (Linux ${sim.kernel})\n`);
  for (const line of outcome.printed) process.stdout.write(`  printed: ${printable(line)}\n`);
  for (const { helper, args: list } of outcome.actions)
    process.stdout.write(`  ${helper}(${list.map(String).join(", ")})\n`);
  if (packet !== undefined && outcome.packet.length > 0) {
    const changes = describeChanges(packet, outcome.packet);
    if (changes !== "") process.stdout.write(`  the packet changed:\n${changes.replace(/^(?=.)/gm, "    ")}\n`);
  }
}

/** Shows the run; a fault ends it after the instruction that misbehaved, and is reported by the caller. */
function traceOne(sim: Simulation, name: string, input: RunInput, breaks: readonly string[], asJson: boolean): void {
  const run = sim.debug(name, input);
  const lines: string[] = [];
  const write = asJson
    ? (line: string): void => void lines.push(line)
    : (line: string): void => void process.stdout.write(`${line}\n`);
  traceRun(run, BUDGET, { breaks, limit: TRACE_LIMIT, write });
  const returnValue = Number(BigInt.asIntN(32, run.reg(0)));
  if (asJson)
    process.stdout.write(
      `${toJson({ program: name, kernel: sim.kernel, returnValue, executed: run.executed, trace: lines, maps: sim.snapshot() })}\n`,
    );
  else
    process.stdout.write(`${name} returned ${returnValue} after ${run.executed} instructions (Linux ${sim.kernel})\n`);
}

// Arguments

function packetsOf(args: ParsedArgs): readonly Packet[] {
  const hex = args.value("packet");
  const pcap = args.value("pcap");
  if (hex !== undefined && pcap !== undefined)
    throw new UsageError("--packet and --pcap are two ways to say the same", spec);
  if (pcap !== undefined) {
    const packets = readPcap(readInput(pcap));
    if (packets.length === 0) throw new BpfkitError("FILE", `${pcap}: there is no packet in it`);
    return packets;
  }
  return [{ data: hex === undefined ? undefined : bytes(hex, "--packet") }];
}

function bytes(text: string, what: string): Uint8Array {
  const plain = text.replaceAll(/[\s:]/g, "");
  if (plain.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(plain))
    throw new UsageError(`${what}: expected hexadecimal bytes`, spec);
  return Uint8Array.from(plain.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function json(args: ParsedArgs, name: string): unknown {
  const text = args.value(name);
  if (text === undefined) return undefined;
  return parse(text.startsWith("@") ? readInput(text.slice(1)).toString("utf8") : text, `--${name}`);
}

function parse(text: string, what: string): FieldValue {
  try {
    return JSON.parse(text, (_key, value: unknown) => {
      if (typeof value !== "string") return value;
      if (/^-?\d+n$/.test(value)) return BigInt(value.slice(0, -1));
      return value.startsWith("hex:") ? bytes(value.slice(4), what) : value;
    }) as FieldValue;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${what}: not JSON: ${error instanceof Error ? error.message : String(error)}`, spec);
  }
}

function settings(items: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (const item of items) {
    const at = item.indexOf("=");
    if (at <= 0) throw new UsageError(`--set ${item}: expected NAME=VALUE`, spec);
    out[item.slice(0, at)] = item.slice(at + 1);
  }
  return out;
}

function count(args: ParsedArgs, name: string): number | undefined {
  const text = args.value(name);
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} ${text}: expected a number`, spec);
  return Number(text);
}
