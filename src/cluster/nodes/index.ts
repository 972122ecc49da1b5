/** Which nodes there are, which of them live, and what is done to their list. */
export {
  drainNode,
  foundNodes,
  NodeRefused,
  registerNode,
  removeNode,
  undrainNode,
  type RemoveOptions,
} from "./membership.ts";
export { openNodes, type NodesOptions } from "./nodes.ts";
export { reportSpace, type SpaceOptions } from "./space.ts";
