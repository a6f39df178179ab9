/** What a SEC() name says about a program. */
import { BPF_ATTACH_TYPE } from "../uapi/attach-types.ts";
import { BPF_F } from "../uapi/flags.ts";
import { BPF_PROG_TYPE } from "../uapi/prog-types.ts";
import { sectionFor } from "../uapi/sections.ts";
import type { ProgSpec } from "./spec.ts";

/** Type, attach type, target and load flags of a section; type 0 when the name is not known. */
export function describeSection(name: string): Pick<ProgSpec, "type" | "expectedAttachType" | "attachTo" | "flags"> {
  const match = sectionFor(name);
  if (match === undefined) return { type: 0, expectedAttachType: 0, attachTo: undefined, flags: 0 };
  const { row } = match;
  return {
    type: BPF_PROG_TYPE[row.progType],
    expectedAttachType: row.attachType === undefined ? 0 : BPF_ATTACH_TYPE[row.attachType],
    attachTo: match.target,
    flags: (row.sleepable === true ? BPF_F.SLEEPABLE : 0) | (row.frags === true ? BPF_F.XDP_HAS_FRAGS : 0),
  };
}
