/** Where the operator's door is: the server opens it, commands knock. */
import { join } from "node:path";

export function adminSocketPath(directory: string): string {
  return join(directory, "admin.sock");
}
