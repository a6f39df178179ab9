/** `bpfkit run --simulate`: the file's programs and its main function, in a small built-in world. */
import { setImmediate as turn } from "node:timers/promises";
import { loadedModules } from "../host/loaded-modules.ts";
import type { RingBuf } from "../probe/map-types.ts";
import type { Schema, StructSchema } from "../probe/schema-types.ts";
import { isHandle } from "../probe/handle.ts";
import { type Simulation, packagedKernel, simulate } from "../testing/index.ts";
import { occasionOf, play, strangers } from "../testing/story/play.ts";
import type { Host } from "./command.ts";
import { EXIT } from "./exit-codes.ts";
import { noProgram } from "./compile-file.ts";
import { moduleOfFile } from "./module-of-file.ts";
import { StreamTable, toJson } from "./output.ts";
import { mapsText } from "./sim-show.ts";
import { SimulatedApp } from "./simulated-app.ts";

export interface SimulatedRunOptions {
  readonly config: Readonly<Record<string, string>>;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly args: readonly string[];
}

const KERNEL = "6.18";
/** Happenings between two turns of the event loop: what the main function prints comes in time. */
const PER_TURN = 8;

export async function simulatedRun(path: string, host: Host, options: SimulatedRunOptions): Promise<number> {
  const module = await moduleOfFile(path, host);
  for (const [url, loaded] of module.modules) loadedModules().set(url, loaded);
  if (!Object.values(module.exports).some((v) => isHandle(v) && v.kind === "program")) throw noProgram(path);
  const sim = simulate(module.exports, {
    kernel: KERNEL,
    cpus: 2,
    now: 0n,
    coverage: false,
    name: module.name,
    config: options.config,
  });
  const { progs } = sim;
  const links = progs.flatMap((p) => (occasionOf(p) === "" ? [] : [{ program: p.name, target: p.section }]));
  const controller = new AbortController();
  const app = new SimulatedApp(sim, { signal: controller.signal, args: options.args, json: options.json, links });
  if (options.verbose)
    for (const { program, target } of links) process.stderr.write(`attached ${program} to ${target}\n`);
  for (const { section, name } of strangers(progs))
    process.stderr.write(
      `note: nothing in the built-in world leads to ${section}, so ${name} never runs: see bpfkit sim\n`,
    );
  // A reader that has seen enough (head) ends it.
  process.stdout.on("error", () => process.exit(EXIT.OK));
  const main = module.exports["default"];
  const work =
    typeof main === "function"
      ? Promise.resolve((main as (app: SimulatedApp) => unknown)(app))
      : printed(sim, app, module.exports, options.json);
  let failed: unknown;
  const settled = work.catch((error: unknown) => {
    failed = error;
    controller.abort();
  });
  const fieldsOf = (event: string): readonly string[] | undefined =>
    packagedKernel(KERNEL)
      .tracepointFormat(event)
      ?.fields.map((f) => f.name);
  let count = 0;
  for (const _ of play(sim, progs, fieldsOf)) {
    app.moved();
    if (++count % PER_TURN === 0) await turn();
    if (controller.signal.aborted) break;
  }
  app.moved();
  await turn();
  controller.abort();
  app.end();
  await settled;
  if (failed !== undefined) throw failed;
  return EXIT.OK;
}

/** Samples as they come, maps at the end. */
async function printed(
  sim: Simulation,
  app: SimulatedApp,
  exports: Readonly<Record<string, unknown>>,
  json: boolean,
): Promise<void> {
  const buffers = Object.entries(exports).filter(
    (e): e is [string, RingBuf<Schema>] =>
      isHandle(e[1]) && e[1].kind === "map" && ["ringbuf", "perf_event_array"].includes((e[1] as RingBuf<Schema>).type),
  );
  for (const [name, handle] of buffers) {
    const fields =
      handle.value.kind === "struct" ? (handle.value as StructSchema).fields.map((f) => f.name) : undefined;
    const rows = new StreamTable(
      [...(buffers.length > 1 ? ["BUFFER"] : []), ...(fields?.map((f) => f.toUpperCase()) ?? ["VALUE"])],
      [],
    );
    app.stream(handle).on((sample) => {
      if (json) process.stdout.write(`${toJson(buffers.length > 1 ? { buffer: name, sample } : sample)}\n`);
      else {
        const values = fields === undefined ? [sample] : fields.map((f) => (sample as Record<string, unknown>)[f]);
        process.stdout.write(rows.row([...(buffers.length > 1 ? [name] : []), ...values]));
      }
    });
  }
  await app.untilEnd();
  const exported = new Set(Object.keys(exports));
  const contents = Object.fromEntries(Object.entries(sim.snapshot()).filter(([name]) => exported.has(name)));
  if (!json) process.stdout.write(mapsText(contents, (name) => exports[name] as never));
  else
    for (const [map, entries] of Object.entries(contents))
      if (!buffers.some(([name]) => name === map)) process.stdout.write(`${toJson({ map, entries })}\n`);
}
