/**
 * Fields that Linux has renamed without changing what they hold, oldest name first: `task.state ?? task.__state` is
 * typed whichever of them a kernel has. Each row: struct, names, the version that brought the last name.
 */
export const RENAMED_FIELDS: readonly (readonly [struct: string, names: readonly string[], since: string])[] = [
  ["task_struct", ["state", "__state"], "5.14"],
  ["inode", ["i_ctime", "__i_ctime"], "6.6"],
  ["kernfs_node", ["parent", "__parent"], "6.15"],
];
