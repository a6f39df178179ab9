/** What a program asks the kernel to do, noted in `world.actions`; the result is that of success. */
import type { HelperName } from "../../uapi/index.ts";
import { helperById, BPF_FUNC } from "../../uapi/index.ts";
import type { Helper, HelperTable } from "./table.ts";

/** TC_ACT_REDIRECT. */
const REDIRECT = 7;
const SK_PASS = 1;

/** Result of success where it is not 0. */
const RECORDED: Partial<Record<HelperName, number>> = {
  redirect_peer: REDIRECT,
  redirect_neigh: REDIRECT,
  clone_redirect: 0,
  sk_redirect_map: SK_PASS,
  sk_redirect_hash: SK_PASS,
  msg_redirect_map: SK_PASS,
  msg_redirect_hash: SK_PASS,
  sock_map_update: 0,
  sock_hash_update: 0,
  msg_apply_bytes: 0,
  msg_cork_bytes: 0,
  sk_select_reuseport: 0,
  sk_assign: 0,
  sock_ops_cb_flags_set: 0,
  bind: 0,
  tcp_send_ack: 0,
  bprm_opts_set: 0,
  rc_repeat: 0,
  rc_keydown: 0,
  rc_pointer_rel: 0,
  skb_ecn_set_ce: 1,
  lwt_push_encap: 0,
  lwt_seg6_action: 0,
};

export const RECORDED_HELPERS: HelperTable = Object.fromEntries(
  Object.entries(RECORDED).map(([name, result]): [string, Helper] => [
    name,
    (run) => {
      run.vm.record(run, name, helperById(BPF_FUNC[name as HelperName])?.args.length ?? 5);
      run.ret(result);
    },
  ]),
);
