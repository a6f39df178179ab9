/** What `run` prints for a module without a main function: samples as they come, maps at the end. */
import type { App } from "../load/index.ts";
import type { Startable } from "../load/start.ts";
import type { MapHandle, RingBuf } from "../probe/map-types.ts";
import type { Schema, StructSchema } from "../probe/schema-types.ts";
import { isHandle } from "../probe/handle.ts";
import { StreamTable, toJson } from "./output.ts";
import { mapData, mapText } from "./show.ts";

/** Prints until the app's signal; then the exported maps. */
export async function printApp(
  app: App,
  compiled: Startable,
  exports: Readonly<Record<string, unknown>>,
): Promise<void> {
  const exported = new Set(Object.values(exports).filter(isHandle));
  const maps = [...compiled.schemas].filter(([, { handle }]) => exported.has(handle));
  const streams = maps.filter(([, { handle }]) => handle.type === "ringbuf" || handle.type === "perf_event_array");
  const readers = streams.map(([name, { handle }]) => stream(app, name, handle as RingBuf<Schema>, streams.length > 1));
  if (readers.length === 0 && !app.signal.aborted)
    process.stderr.write("Attached. Ctrl-C ends it and prints the maps.\n");
  await app.untilEnd();
  for (const reader of readers) reader.stop();
  for (const [name, { handle }] of maps) showMap(app, name, handle);
}

/** Prints the samples of one buffer; `stop` prints what is left. */
function stream(app: App, name: string, handle: RingBuf<Schema>, several: boolean): { stop(): void } {
  const reader = app.collection.events(name);
  const fields = handle.value.kind === "struct" ? (handle.value as StructSchema).fields : undefined;
  const header = ["TIME", ...(several ? ["BUFFER"] : []), ...(fields?.map((f) => f.name.toUpperCase()) ?? ["VALUE"])];
  const rows = new StreamTable(header, [
    8,
    ...(several ? [name.length] : []),
    ...(fields?.map((f) => widthOf(f.schema)) ?? []),
  ]);
  const show = (sample: unknown): void => {
    if (app.json) {
      process.stdout.write(`${toJson(several ? { buffer: name, sample } : sample)}\n`);
      return;
    }
    const values = fields === undefined ? [sample] : fields.map((f) => (sample as Record<string, unknown>)[f.name]);
    process.stdout.write(rows.row([new Date().toTimeString().slice(0, 8), ...(several ? [name] : []), ...values]));
  };
  const subscription = reader.on(show);
  return {
    stop() {
      subscription.stop();
      reader.drain(show);
      if (reader.lost > 0n) process.stderr.write(`${reader.lost} samples of ${name} were lost: its buffer was full\n`);
      reader.close();
    },
  };
}

function widthOf(schema: Schema): number {
  switch (schema.kind) {
    case "int":
      return schema.bits === 64 ? 12 : schema.bits === 32 ? 7 : 5;
    case "char":
      return Math.min(schema.length, 16);
    default:
      return 8;
  }
}

function showMap(app: App, name: string, handle: MapHandle): void {
  if (app.json) {
    const data = mapData(app, name, handle);
    if (data !== undefined) process.stdout.write(`${toJson({ map: name, entries: data })}\n`);
    return;
  }
  const text = mapText(app, name, handle);
  if (text !== undefined) process.stdout.write(`\n${text}`);
}
