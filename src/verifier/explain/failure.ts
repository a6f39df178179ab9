/** A rejection with all that explaining it needs. */
import type { ProgLoad } from "../capture.ts";
import type { Env } from "../env.ts";
import { regText } from "../log-state.ts";
import type { RegState } from "../reg-state.ts";
import type { Step } from "./trace.ts";

export interface Failure {
  readonly load: ProgLoad;
  readonly env: Env;
  /** Where the verifier stopped; undefined when it looked at no path (a malformed program). */
  readonly insn: number | undefined;
  readonly steps: readonly Step[];
  /** The verifier's words, all lines of them. */
  readonly reason: string;
  /** Registers before the instruction, as far as it had not changed them. */
  readonly regs: readonly RegState[];
  /** Processed instructions by insn, where the path was too long to be followed (`steps` is empty then). */
  readonly counts: Uint32Array | undefined;
  /** Call depth. */
  readonly frame: number;
}

/** A register as the log would print it. */
export function known(f: Failure, regno: number): string {
  const r = f.regs[regno];
  const frame = f.env.state?.frames[f.env.state.curframe];
  return r === undefined || frame === undefined || r.type === 0 ? "never set" : regText(frame, r);
}

/** One way to change the program. `load` is null where it cannot be done mechanically. */
export interface Fix {
  readonly text: string;
  readonly load: ProgLoad | null;
}

/** What is known of one kind of rejection. */
export interface Account {
  /** One sentence: what is wrong, in the user's terms. */
  readonly title: string;
  /** What the verifier wants here. */
  readonly required: string;
  readonly known?: string | undefined;
  /** Registers whose history explains it, by number. */
  readonly registers?: readonly number[];
  /** Instructions that belong to the story besides those (where something was acquired). */
  readonly also?: readonly { readonly insn: number; readonly message: string }[];
  /** What usually helps, for when no fix could be checked. */
  readonly help: string;
  /** Tried in order; the first that the verifier accepts is suggested. */
  readonly fixes?: () => readonly Fix[];
}

export interface Rule {
  /** Stable. */
  readonly code: string;
  readonly pattern: RegExp;
  account(f: Failure, m: RegExpExecArray): Account;
}
