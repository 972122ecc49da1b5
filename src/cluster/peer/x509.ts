/** The two kinds of certificates of a cluster (RFC 5280): its authority's, and those that the authority signs. */
import { createHash, createPublicKey, sign, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import {
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  objectId,
  octetString,
  sequence,
  set,
  time,
  utf8String,
  type Der,
} from "./der.ts";

export interface Validity {
  readonly from: Date;
  readonly to: Date;
}

export interface AuthorityTerms {
  /** Common name. */
  readonly name: string;
  /** Signs, and is signed for; P-256. */
  readonly key: KeyObject;
}

export interface LeafTerms extends Validity {
  /** Common name. */
  readonly name: string;
  /** Its public half is certified; P-256. */
  readonly key: KeyObject;
  /** Positive, at most 20 bytes. */
  readonly serial: Uint8Array;
  /** DNS names and IP addresses that it speaks for. */
  readonly hosts: readonly string[];
}

/** The same for all nodes, so that it does not matter which of them made it; only the signature differs. */
const AUTHORITY_SERIAL = Buffer.of(1);
const AUTHORITY_VALIDITY: Validity = {
  from: new Date("2020-01-01T00:00:00Z"),
  to: new Date("2120-01-01T00:00:00Z"),
};

const ECDSA_SHA256 = sequence(objectId("1.2.840.10045.4.3.2"));
const COMMON_NAME = objectId("2.5.4.3");
const SERVER_AND_CLIENT = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
const DIGITAL_SIGNATURE = bitString(Buffer.of(0b1000_0000), 7);
const SIGNS_CERTIFICATES = bitString(Buffer.of(0b0000_0110), 1);

/** PEM. */
export function authorityCertificate(authority: AuthorityTerms): string {
  const path = [boolean(true), integer(Buffer.of(0))];
  return certificate(authority, {
    ...AUTHORITY_VALIDITY,
    ...authority,
    serial: AUTHORITY_SERIAL,
    extensions: [
      extension("2.5.29.19", true, sequence(...path)),
      extension("2.5.29.15", true, SIGNS_CERTIFICATES),
    ],
  });
}

/** For both ends of a connection. PEM. */
export function leafCertificate(authority: AuthorityTerms, leaf: LeafTerms): string {
  return certificate(authority, {
    ...leaf,
    extensions: [
      extension("2.5.29.19", true, sequence()),
      extension("2.5.29.15", true, DIGITAL_SIGNATURE),
      extension("2.5.29.37", false, sequence(...SERVER_AND_CLIENT.map(objectId))),
      extension("2.5.29.35", false, sequence(implicit(0, keyId(authority.key)))),
      extension("2.5.29.17", false, sequence(...leaf.hosts.map(generalName))),
    ],
  });
}

interface Terms extends Validity {
  readonly name: string;
  readonly key: KeyObject;
  readonly serial: Uint8Array;
  readonly extensions: readonly Der[];
}

function certificate(issuer: AuthorityTerms, terms: Terms): string {
  const body = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(terms.serial),
    ECDSA_SHA256,
    distinguishedName(issuer.name),
    sequence(time(terms.from), time(terms.to)),
    distinguishedName(terms.name),
    publicKey(terms.key),
    explicit(
      3,
      sequence(...terms.extensions, extension("2.5.29.14", false, octetString(keyId(terms.key)))),
    ),
  );
  const signature = sign("sha256", body, { key: issuer.key, dsaEncoding: "der" });
  return pem(sequence(body, ECDSA_SHA256, bitString(signature)));
}

function distinguishedName(commonName: string): Der {
  return sequence(set(sequence(COMMON_NAME, utf8String(commonName))));
}

function extension(id: string, isCritical: boolean, value: Der): Der {
  const critical = isCritical ? [boolean(true)] : [];
  return sequence(objectId(id), ...critical, octetString(value));
}

function generalName(host: string): Der {
  switch (isIP(host)) {
    case 4:
      return implicit(7, Buffer.from(host.split(".").map(Number)));
    case 6:
      return implicit(7, ipv6Bytes(host));
    default:
      return implicit(2, Buffer.from(host, "ascii"));
  }
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser gives the shortest form, with an IPv4 address at the end in hexadecimal as well.
  const short = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = short.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  const all = [...before, ...zeros, ...after];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}

/** SubjectPublicKeyInfo. */
function publicKey(key: KeyObject): Der {
  return createPublicKey(key).export({ type: "spki", format: "der" });
}

/** By which a certificate names its issuer's key (RFC 7093 §2, method 4). */
function keyId(key: KeyObject): Buffer {
  return createHash("sha256").update(publicKey(key)).digest().subarray(0, 20);
}

function pem(der: Der): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
