/** The one path on which the verifier stopped, read from its own level-1 log: instructions, and what each changed. */

/** A register ("R1") or a stack slot ("fp-8") of call frame `frame`, as text "0:R1". */
export type Place = string;

export interface Step {
  readonly insn: number;
  /** As the log has it, without the opcode: "r1 = *(u64 *)(r10 -8)". */
  readonly text: string;
  /** Call depth: 0 is the main function. */
  readonly frame: number;
  /** What the log shows after it, by place. */
  readonly after: ReadonlyMap<Place, string>;
  /** The same places before it, where known. */
  readonly before: ReadonlyMap<Place, string>;
}

export interface Trace {
  readonly steps: readonly Step[];
  /** What the verifier said at the end, without its statistics. */
  readonly reason: readonly string[];
}

const STEP = /^(\d+): \([0-9a-f]{2}\) ([^;]*?)\s*(?:; ?(.*))?$/;
const STATE = /^\d+: ((?:frame\d+: ?)?(?:R\d+=|fp-\d+=).*)$/;
const ITEM = / (R\d+|fp-\d+)=(.*?)(?= (?:R\d+|fp-\d+)=| refs=| cb$| async_cb$|$)/g;
const STATISTICS = /^(processed \d+ insns|verification time|stack depth)/;

const TAIL = /(?<=.)processed \d+ insns \(limit .*$/;

interface Raw {
  readonly insn: number;
  readonly text: string;
  state: string;
}

/** Reads a level-1 log. Lines that are neither are the reason when nothing follows them. */
export function readTrace(log: string): Trace {
  const raw: Raw[] = [];
  let reason: string[] = [];
  for (const whole of log.split("\n")) {
    // Some messages end without a line end.
    const line = whole.replace(TAIL, "");
    if (line === "" || line.startsWith("; ") || STATISTICS.test(line)) continue;
    const step = STEP.exec(line);
    if (step !== null) {
      raw.push({ insn: Number(step[1]), text: step[2] ?? "", state: step[3] ?? "" });
      reason = [];
      continue;
    }
    const state = STATE.exec(line);
    const last = raw.at(-1);
    if (state === null) reason.push(line);
    else if (last !== undefined) last.state = state[1] ?? "";
  }
  return { steps: follow(raw), reason: reason.filter((l) => !/^(Func#\d+|Validating |func#\d+ @)/.test(l)) };
}

function follow(raw: readonly Raw[]): Step[] {
  const known = new Map<Place, string>();
  const steps: Step[] = [];
  let depth = 0;
  raw.forEach(({ insn, text, state }, i) => {
    const frame = depth;
    const next = raw[i + 1]?.insn;
    if (/^call\b/.test(text) && next !== undefined && next !== insn + 1) depth++;
    else if (text === "exit" && depth > 0) depth--;
    const shown = /^ ?frame(\d+):/.exec(state);
    const at = shown === null ? depth : Number(shown[1]);
    const after = new Map<Place, string>();
    const before = new Map<Place, string>();
    for (const [, name = "", value = ""] of ` ${state.replace(/^ ?frame\d+:/, "")}`
      .replace(/^ +/, " ")
      .matchAll(ITEM)) {
      const place = `${at}:${name}`;
      const old = known.get(place);
      if (old !== undefined) before.set(place, old);
      after.set(place, value.trim());
      known.set(place, value.trim());
    }
    steps.push({ insn, text, frame, after, before });
  });
  return steps;
}
