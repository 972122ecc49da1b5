import { expect, test } from "bun:test";
import { releaseObstacle } from "./etcd-releases.ts";

test("releases that are too old or lose data are refused", () => {
  for (const release of ["2.3.8", "3.3.27", "3.5.0", "3.5.1", "3.5.2", "3.5.2-rc.1"])
    expect(releaseObstacle(release)).toBeDefined();
  for (const release of ["3.4.0", "3.4.23", "3.5.3", "3.5.21", "3.6.0", "3.6.0-rc.4", "4.0.0"])
    expect(releaseObstacle(release)).toBeUndefined();
});
