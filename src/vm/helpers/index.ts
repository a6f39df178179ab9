import { BPF_FUNC } from "../../uapi/index.ts";
import { MAP_HELPERS } from "./map.ts";
import { MISC_HELPERS } from "./misc.ts";
import { PACKET_HELPERS } from "./packet.ts";
import type { Helper, HelperTable } from "./table.ts";

const TABLE: HelperTable = { ...MAP_HELPERS, ...MISC_HELPERS, ...PACKET_HELPERS };

/** Every helper that is modelled, by its number. */
export const HELPERS_BY_ID: readonly (Helper | undefined)[] = (() => {
  const byId: (Helper | undefined)[] = [];
  for (const [name, id] of Object.entries(BPF_FUNC)) byId[id] = TABLE[name as keyof HelperTable];
  return byId;
})();
export type { Helper } from "./table.ts";
