/**
 * The part of etcd's JSON gateway that is used here (etcd API v3, `rpc.proto`, `kv.proto`): bytes are base64,
 * 64-bit numbers are decimal texts, and a field that has its default value is left out.
 */

/** A revision as etcd counts it, without an epoch. */
export type RawRevision = number;

export interface Kv {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
}

export interface Header {
  readonly revision?: string;
}

export interface Range {
  readonly key: string;
  readonly range_end?: string;
  readonly limit?: string;
  readonly revision?: string;
  readonly sort_order?: "DESCEND";
  readonly sort_target?: "KEY";
  readonly keys_only?: true;
  readonly count_only?: true;
  readonly serializable?: true;
}

export interface RangeAnswer {
  readonly kvs?: readonly Kv[];
  readonly more?: boolean;
  readonly count?: string;
}

export type Compare = {
  readonly key: string;
  readonly range_end?: string;
  readonly result: "EQUAL";
} & (
  | { readonly target: "MOD"; readonly mod_revision: string }
  | { readonly target: "CREATE"; readonly create_revision: string }
  | { readonly target: "VALUE"; readonly value: string }
);

export type Operation =
  | { readonly request_range: Range }
  | {
      readonly request_put: {
        readonly key: string;
        readonly value: string;
        readonly lease?: string;
      };
    }
  | { readonly request_delete_range: { readonly key: string } };

export interface Txn {
  readonly compare?: readonly Compare[];
  readonly success?: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface TxnAnswer {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: RangeAnswer;
    readonly response_delete_range?: { readonly deleted?: string };
  }[];
}

export interface WatchAnswer {
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  readonly compact_revision?: string;
  /** More events of the same message follow, maybe of the same revision. */
  readonly fragment?: boolean;
  readonly events?: readonly { readonly kv: Kv; readonly type?: "DELETE" }[];
}

export function encode(text: string): string {
  return Buffer.from(text).toString("base64");
}

export function decode(base64 = ""): string {
  return Buffer.from(base64, "base64").toString();
}
