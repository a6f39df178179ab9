import { BPF_FUNC } from "../../uapi/index.ts";
import { DYNPTR_HELPERS } from "./dynptr.ts";
import { MAP_HELPERS } from "./map.ts";
import { MISC_HELPERS } from "./misc.ts";
import { PACKET_HELPERS } from "./packet.ts";
import { RECORDED_HELPERS } from "./recorded.ts";
import { SKB_HELPERS } from "./skb.ts";
import type { Helper, HelperTable } from "./table.ts";
import { TIMER_HELPERS } from "./timer.ts";
import { TRACING_HELPERS } from "./tracing.ts";

const TABLE: HelperTable = {
  ...MAP_HELPERS,
  ...MISC_HELPERS,
  ...PACKET_HELPERS,
  ...SKB_HELPERS,
  ...DYNPTR_HELPERS,
  ...TIMER_HELPERS,
  ...TRACING_HELPERS,
  ...RECORDED_HELPERS,
};

/** Every helper that is modelled, by its number. */
export const HELPERS_BY_ID: readonly (Helper | undefined)[] = (() => {
  const byId: (Helper | undefined)[] = [];
  for (const [name, id] of Object.entries(BPF_FUNC)) byId[id] = TABLE[name as keyof HelperTable];
  return byId;
})();
export type { Helper } from "./table.ts";
