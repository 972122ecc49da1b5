import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { formatPostgresUrl, parsePostgresUrl } from "./postgres-url.ts";

const db = { hosts: [{ host: "db", port: 5432 }], user: "me", database: "me" };

describe("addresses of PostgreSQL", () => {
  test.each([
    ["postgres://me@db", db],
    ["postgresql://me@db/", db],
    [" postgres://me:@db:5432 ", db],
    ["postgres://me:p%40ss@db/images", { ...db, password: "p@ss", database: "images" }],
    ["postgres://me:p@ss:word@db", { ...db, password: "p@ss:word" }],
    [
      "postgres://me@%2Frun%2Fpostgresql",
      { ...db, hosts: [{ host: "/run/postgresql", port: 5432 }] },
    ],
    [
      "postgres://me@a:1,[fe80::1]:2,10.0.0.1/x",
      {
        hosts: [
          { host: "a", port: 1 },
          { host: "fe80::1", port: 2 },
          { host: "10.0.0.1", port: 5432 },
        ],
        database: "x",
      },
    ],
    [
      "postgres://me@db?sslmode=verify-full&target_session_attrs=read-write",
      { ...db, mode: "verify-full" },
    ],
  ])("%p", (text, value) => expect(parsePostgresUrl(text)).toMatchObject({ value }));

  test.each([
    "",
    "db",
    "http://me@db",
    "postgres://me@",
    "postgres://me@a,",
    "postgres://me@a:0",
    "postgres://me@a:70000",
    "postgres://me@a b:x",
    "postgres://me@::1",
    "postgres://me:%@db",
    "postgres://me:pass/word@db",
    "postgres://@db",
    "postgres://me@db/x#y",
    "postgres://me@db?options=-c",
  ])("%p is refused", (text) => expect(parsePostgresUrl(text)).toHaveProperty("problem"));

  test("what is written is read back, without the password", () => {
    const name = fc.string({ minLength: 1, unit: "binary" });
    const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.constant("/run/postgresql"));
    const hosts = fc.array(fc.record({ host, port: fc.integer({ min: 1, max: 65_535 }) }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(hosts, name, name, (places, user, database) => {
        const url = { hosts: places, user, database };
        expect(parsePostgresUrl(formatPostgresUrl(url))).toEqual({
          value: { ...url, password: undefined, mode: undefined },
        });
      }),
    );
  });

  test("no problem repeats a password, wherever it stands", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, after) =>
        expect(JSON.stringify(parsePostgresUrl(`${before}hunter2${after}`))).not.toMatch(
          /"problem":.*hunter2/,
        ),
      ),
    );
    const asName = parsePostgresUrl("postgres://me@db?hunter2-hunter2=1");
    expect(JSON.stringify(asName)).not.toContain("hunter2");
  });
});
