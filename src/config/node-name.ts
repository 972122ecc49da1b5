/** The name of a node: a DNS label in lower case, as the first part of a host name is. */
export const NODE_NAME: RegExp = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Completes "it takes …". */
export const nodeNameForm =
  'lower-case letters, digits and "-" between them, at most 63, such as "n1"';
