/** File systems of their own for tests. Needs root, and loop devices for ext4; containers often lack both. */
import fs from "node:fs";

export type Kind = "tmpfs" | "ramfs" | "ext4";

/** Mounts an empty file system of `mib` MiB (as large as memory for ramfs); false where that is not allowed. */
export function mountNew(kind: Kind, directory: string, mib: number): boolean {
  if (process.platform !== "linux") return false;
  fs.mkdirSync(directory, { recursive: true });
  if (kind !== "ext4") return runs("mount", "-t", kind, "-o", `size=${mib}m`, kind, directory);
  const image = `${directory}.image`;
  fs.writeFileSync(image, "");
  fs.truncateSync(image, mib << 20);
  return runs("mkfs.ext4", "-q", image) && runs("mount", "-o", "loop", image, directory);
}

export function unmount(directory: string): void {
  runs("umount", "-l", directory);
  fs.rmSync(`${directory}.image`, { force: true });
}

export function canMount(kind: Kind, directory: string): boolean {
  const can = mountNew(kind, directory, 8);
  unmount(directory);
  return can;
}

function runs(...command: string[]): boolean {
  return Bun.which(command[0] ?? "") !== null && Bun.spawnSync(command).exitCode === 0;
}
