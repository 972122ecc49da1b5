/** What an anonymous client may do in any repository. */
export const actions = ["pull", "push", "delete"] as const;
export type Action = (typeof actions)[number];
