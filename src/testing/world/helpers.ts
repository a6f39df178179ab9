/** Helpers that the world answers: what `simulate()` gives the VM as its answers. net/core/filter.c, kernel/trace/bpf_trace.c. */
import { encodeUtf8 } from "../../core/bytes.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { FAULT } from "../../vm/fault.ts";
import type { Run } from "../../vm/run.ts";
import type { Mock } from "../../vm/vm.ts";
import { pathAt } from "./files.ts";
import { type MadeSocket, routeTo } from "./net.ts";
import { ipBytes, macBytes } from "./packet/addresses.ts";
import { systemHelpers } from "./helpers-system.ts";
import { cgroupId, cgroupLine } from "./tasks.ts";
import type { KernelObject } from "./types.ts";
import type { KernelWorld } from "./world.ts";

/** enum in bpf.h: what bpf_fib_lookup returns. */
const FIB = {
  SUCCESS: 0,
  BLACKHOLE: 1,
  UNREACHABLE: 2,
  PROHIBIT: 3,
  NOT_FWDED: 4,
  NO_NEIGH: 7,
  FRAG_NEEDED: 8,
} as const;
/** Flags of bpf_fib_lookup. */
const FIB_SKIP_NEIGH = 4;
const FIB_SRC = 16;
const AF_INET = 2;
const AF_INET6 = 10;
const TCP = 6;
const UDP = 17;
/** The members of union bpf_sock_tuple: source address, destination address, their ports. */
const TUPLE4 = 12;
const TUPLE6 = 36;
const LISTEN = 10;
const TIME_WAIT = 6;
const NEW_SYN_RECV = 12;
/** Where `sk` is in struct __sk_buff. */
const SKB_SK = 168;
/** Of the network namespace that everything is in. */
const NETNS_COOKIE = 1n;

/**
 * Answers of helpers about tasks, cgroups, paths, sockets, routes and per-CPU variables, by name. `world` is asked when a
 * program calls one: it may be made after the VM that it lives in.
 */
export function worldHelpers(world: () => KernelWorld): Readonly<Record<string, Mock>> {
  return { ...taskHelpers(world), ...socketHelpers(world), ...routeHelpers(world), ...systemHelpers(world) };
}

const int = (value: bigint | undefined): number => Number(BigInt.asIntN(32, value ?? 0n));
const uint = (value: bigint | undefined): number => Number(BigInt.asUintN(32, value ?? 0n));

function taskHelpers(world: () => KernelWorld): Readonly<Record<string, Mock>> {
  const current = (): bigint => world().current.address;
  const cgroup = (): KernelObject | undefined => {
    const { objects, current: task } = world();
    const set = task.get("cgroups") as bigint;
    if (set === 0n) return undefined;
    return objects.at("struct cgroup", objects.at("struct css_set", set).get("dfl_cgrp") as bigint);
  };
  /** Level 0 is the root. */
  const ancestorId = (of: KernelObject | undefined, level: number): bigint => {
    if (of === undefined) return 0n;
    const line = cgroupLine(world().objects, of);
    const at = line[level];
    return at === undefined ? 0n : cgroupId(world().objects, at);
  };
  return {
    get_current_task: current,
    get_current_task_btf: current,
    get_current_cgroup_id: (_args, run) => {
      const of = cgroup();
      return of === undefined ? run.vm.world.task.cgroupId : cgroupId(world().objects, of.address);
    },
    get_current_ancestor_cgroup_id: (args) => ancestorId(cgroup(), int(args[0])),
    get_ns_current_pid_tgid: ([, ino], run) => {
      const size = uint(run.u64(4));
      const to = run.writable(3, size, "nsdata");
      run.memory.u8.fill(0, to, to + size);
      if (size !== 8) return -ERRNO.EINVAL;
      const { current: task, objects } = world();
      const proxy = task.get("nsproxy") as bigint;
      const ns = proxy === 0n ? 0n : (objects.at("struct nsproxy", proxy).get("pid_ns_for_children") as bigint);
      if (ns === 0n || BigInt(objects.at("struct pid_namespace", ns).get("ns.inum") as number) !== ino)
        return -ERRNO.EINVAL;
      run.memory.view.setUint32(to, task.get("pid") as number, true);
      run.memory.view.setUint32(to + 4, task.get("tgid") as number, true);
      return 0;
    },
    d_path: ([path], run) => {
      const size = uint(run.u64(3));
      const to = run.writable(2, size, "buffer");
      if (size === 0) return 0;
      const text = pathAt(world().objects, path ?? 0n);
      if (text === undefined) return -ERRNO.EFAULT;
      const bytes = encodeUtf8(text);
      if (bytes.length + 1 > size) return -ERRNO.ENAMETOOLONG;
      run.memory.u8.set(bytes, to);
      run.memory.u8[to + bytes.length] = 0;
      return bytes.length + 1;
    },
    task_pt_regs: ([task]) => world().regsOf(task ?? 0n).address,
    // All of the world's tasks share their user memory.
    copy_from_user_task: ([, , from, , flags], run) => {
      const size = uint(run.u64(2));
      const to = run.writable(1, size, "buffer");
      if (flags !== 0n) return -ERRNO.EINVAL;
      const bytes = world().objects.memory.read(from ?? 0n, size);
      if (bytes === undefined) {
        run.memory.u8.fill(0, to, to + size);
        return -ERRNO.EFAULT;
      }
      run.memory.u8.set(bytes, to);
      return 0;
    },
    per_cpu_ptr: ([address, cpu]) => perCpu(world(), address ?? 0n, uint(cpu)),
    this_cpu_ptr: ([address], run) => perCpu(world(), address ?? 0n, run.vm.world.cpu),
  };
}

function perCpu(world: KernelWorld, address: bigint, cpu: number): bigint {
  const found = world.perCpu.find((p) => address >= p.address && address < p.address + BigInt(p.stride));
  return found === undefined || cpu >= found.cpus.length ? 0n : address + BigInt(cpu * found.stride);
}

function socketHelpers(world: () => KernelWorld): Readonly<Record<string, Mock>> {
  const lookup =
    (protocol: number, name: string): Mock =>
    ([, , , netns, flags], run) => {
      const size = uint(run.u64(3));
      if (flags !== 0n || int(netns) < -1 || (size !== TUPLE4 && size !== TUPLE6)) return 0n;
      const tuple = run.memory.copy(run.readable(2, size, "tuple"), size);
      const length = size === TUPLE4 ? 4 : 16;
      const view = new DataView(tuple.buffer);
      const found = world().lookup(
        {
          protocol,
          remote: tuple.subarray(0, length),
          local: tuple.subarray(length, 2 * length),
          remotePort: view.getUint16(2 * length),
          localPort: view.getUint16(2 * length + 2),
        },
        true,
      );
      if (found === undefined) return 0n;
      const key = Number(found.address);
      if (!run.acquired.has(key)) run.acquired.set(key, { what: `the socket that bpf_${name} gave`, insn: run.insn });
      return found.address;
    };
  const known = (run: Run, address: bigint | undefined): MadeSocket => {
    const socket = world().socketAt(address ?? 0n);
    if (socket !== undefined) return socket;
    throw run.fault(FAULT.BAD_ARGUMENT, `0x${(address ?? 0n).toString(16)} is no socket of this world`, {
      help: "make sockets by world.socket({ … })",
    });
  };
  const cast =
    (protocol: number, family?: number): Mock =>
    ([address], run) => {
      if (address === 0n) return 0n;
      const socket = known(run, address);
      const fits =
        socket.protocol === protocol &&
        (family === undefined || socket.local.length === (family === AF_INET6 ? 16 : 4));
      return fits ? socket.kernel.address : 0n;
    };
  const inState =
    (state: number): Mock =>
    ([address], run) => {
      const socket = address === 0n ? undefined : known(run, address);
      return socket?.protocol === TCP && socket.state === state ? socket.kernel.address : 0n;
    };
  /** Id of the socket's cgroup, or of its ancestor at a level (0 is the root). */
  const cgroupOf = (socket: MadeSocket | undefined, level?: number): bigint => {
    const { objects } = world();
    const cgroup = socket?.spec.cgroup;
    if (cgroup === undefined) return 0n;
    if (level === undefined) return cgroupId(objects, cgroup.address);
    const at = cgroupLine(objects, cgroup)[level];
    return at === undefined ? 0n : cgroupId(objects, at);
  };
  /** The socket that `ctx->sk` points to. */
  const socketOfSkb = (run: Run): MadeSocket | undefined =>
    world().socketAt(run.memory.view.getBigUint64(run.ctx + SKB_SK, true));
  /** A context stands for its socket: the only one of the run. */
  const optionKey = (run: Run, of: bigint | undefined, level: bigint | undefined, name: bigint | undefined): string =>
    `${of === BigInt(run.ctx) ? "ctx" : String(of)}:${int(level)}:${int(name)}`;
  return {
    sk_lookup_tcp: lookup(TCP, "sk_lookup_tcp"),
    skc_lookup_tcp: lookup(TCP, "skc_lookup_tcp"),
    sk_lookup_udp: lookup(UDP, "sk_lookup_udp"),
    sk_release: ([address], run) => {
      if (!run.acquired.delete(Number(address)))
        throw run.fault(FAULT.BAD_ARGUMENT, "the socket was not taken, or is given back already");
      return 0;
    },
    sk_fullsock: ([address]) => address,
    tcp_sock: ([address], run) => known(run, address).tcp,
    get_listener_sock: ([address], run) => {
      const socket = known(run, address);
      return socket.state === LISTEN ? socket.address : 0n;
    },
    skc_to_tcp_sock: cast(TCP),
    skc_to_tcp6_sock: cast(TCP, AF_INET6),
    skc_to_udp6_sock: cast(UDP, AF_INET6),
    get_socket_cookie: ([address]) => BigInt(world().socketAt(address ?? 0n)?.spec.cookie ?? 0),
    get_netns_cookie: () => NETNS_COOKIE,
    get_socket_uid: ([address]) => world().socketAt(address ?? 0n)?.spec.uid ?? 65534,
    skc_to_tcp_timewait_sock: inState(TIME_WAIT),
    skc_to_tcp_request_sock: inState(NEW_SYN_RECV),
    // There are no sockets of these kinds in a world.
    skc_to_unix_sock: () => 0n,
    skc_to_mptcp_sock: () => 0n,
    sk_cgroup_id: ([address], run) => cgroupOf(known(run, address)),
    sk_ancestor_cgroup_id: ([address, level], run) => cgroupOf(known(run, address), int(level)),
    skb_cgroup_id: (_args, run) => cgroupOf(socketOfSkb(run)),
    skb_ancestor_cgroup_id: ([, level], run) => cgroupOf(socketOfSkb(run), int(level)),
    getsockopt: ([of, level, name], run) => {
      const size = uint(run.u64(5));
      const to = run.writable(4, size, "value");
      run.memory.u8.fill(0, to, to + size);
      const value = world().options.get(optionKey(run, of, level, name));
      if (value === undefined) {
        throw run.fault(
          FAULT.NOT_MODELLED,
          `nothing is known of the socket's option ${int(name)} of level ${int(level)}`,
          {
            help: "set it in the test, or give the helper a mock: { mocks: { getsockopt: (call) => 0 } }",
          },
        );
      }
      if (size < value.length) return -ERRNO.EINVAL;
      run.memory.u8.set(value, to);
      return 0;
    },
    setsockopt: ([of, level, name], run) => {
      const size = uint(run.u64(5));
      const value = run.memory.copy(run.readable(4, size, "value"), size);
      world().options.set(optionKey(run, of, level, name), value);
      return 0;
    },
  };
}

function routeHelpers(world: () => KernelWorld): Readonly<Record<string, Mock>> {
  return {
    fib_lookup: ([, , , flags], run) => {
      const size = int(run.u64(3));
      const { view, u8 } = run.memory;
      if (size < 64) return -ERRNO.EINVAL;
      const at = run.writable(2, size, "params");
      const family = u8[at]!;
      if (family !== AF_INET && family !== AF_INET6) return -ERRNO.EAFNOSUPPORT;
      const length = family === AF_INET ? 4 : 16;
      const route = routeTo(world().routes, run.memory.copy(at + 32, length));
      if (route === undefined) return FIB.NOT_FWDED;
      const { spec } = route;
      switch (spec.type ?? "unicast") {
        case "blackhole":
          return FIB.BLACKHOLE;
        case "unreachable":
          return FIB.UNREACHABLE;
        case "prohibit":
          return FIB.PROHIBIT;
        case "local":
          return FIB.NOT_FWDED;
        default:
      }
      const mtu = spec.mtu ?? world().devices.find((d) => d.spec.ifindex === spec.ifindex)?.spec.mtu ?? 1500;
      const total = view.getUint16(at + 6, true);
      // Without a length nothing is said of the MTU.
      if (total !== 0) view.setUint16(at + 6, mtu, true);
      if (total > mtu) return FIB.FRAG_NEEDED;
      view.setUint32(at + 8, spec.ifindex, true);
      view.setUint32(at + 12, spec.metric ?? 0, true);
      if (spec.via !== undefined) {
        const via = ipBytes(spec.via);
        // An IPv4 route may lead over IPv6: the family tells.
        u8[at] = via.length === 4 ? AF_INET : AF_INET6;
        u8.set(via, at + 32);
      }
      if (spec.src !== undefined && (uint(flags) & FIB_SRC) !== 0) u8.set(ipBytes(spec.src), at + 16);
      const neighbour = (uint(flags) & FIB_SKIP_NEIGH) === 0;
      if (neighbour && spec.dmac === undefined) return FIB.NO_NEIGH;
      view.setUint32(at + 48, 0, true);
      if (!neighbour || spec.dmac === undefined) return FIB.SUCCESS;
      u8.set(macBytes(spec.smac ?? "02:00:00:00:00:01"), at + 52);
      u8.set(macBytes(spec.dmac), at + 58);
      return FIB.SUCCESS;
    },
    check_mtu: ([, ifindex, , difference, flags], run) => {
      const to = run.writable(3, 4, "mtu_len");
      const index = uint(ifindex);
      const device = world().devices.find((d) => d.spec.ifindex === index);
      if ((uint(flags) & ~1) !== 0) return -ERRNO.EINVAL;
      if (device === undefined && index !== 0) return -ERRNO.ENODEV;
      const mtu = device?.spec.mtu ?? 1500;
      const given = run.memory.view.getUint32(to, true);
      run.memory.view.setUint32(to, mtu, true);
      const { packet } = run;
      const length = (given !== 0 ? given : packet === undefined ? 0 : packet.end - packet.data - 14) + int(difference);
      // 1: BPF_MTU_CHK_RET_FRAG_NEEDED.
      return length <= mtu ? 0 : 1;
    },
  };
}
