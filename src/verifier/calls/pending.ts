import type { Env } from "../env.ts";
export function checkAttachBtfId(_env: Env): void {}
