import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { OciError } from "../oci/errors.ts";
import { parseTarget, Query } from "./target.ts";

describe("a target", () => {
  const path = fc
    .string({ unit: fc.constantFrom(...Array.from("/aZ0%2e.:!#@")) })
    .map((text) => `/${text}`);
  const search = fc.string({ unit: fc.constantFrom(...Array.from("aZ0%=&?/:#+")) });

  test("is its path and its query as they came, whatever stands in front", () => {
    const origin = fc.constantFrom("http://h", "https://h:5000", "http://[::1]:5000", "");
    fc.assert(
      fc.property(origin, path, search, (origin, path, search) => {
        fc.pre(origin !== "" || !path.startsWith("//"));
        expect(parseTarget(`${origin}${path}`)).toEqual({ path, search: "" });
        expect(parseTarget(`${origin}${path}?${search}`)).toEqual({ path, search });
      }),
      { numRuns: 1000 },
    );
  });

  test("is read from a path alone: a client of HTTP/1.0 need not send a Host", () => {
    expect(parseTarget("/readyz")).toEqual({ path: "/readyz", search: "" });
    expect(parseTarget("/v2/a?x=http://y/z")).toEqual({ path: "/v2/a", search: "x=http://y/z" });
  });

  test("without a path is the root", () => {
    expect(parseTarget("http://h")).toEqual({ path: "/", search: "" });
  });

  test("comes from a socket without Host as well", async () => {
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => Response.json(parseTarget(request.url)),
    });
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port ?? 0,
      socket: {
        open: (socket) =>
          void socket.write("GET /readyz?a=/b HTTP/1.0\r\nConnection: close\r\n\r\n"),
        data: (_, chunk) => void (text += chunk.toString()),
        close: () => resolve(text),
      },
    });
    expect(await promise).toEndWith('{"path":"/readyz","search":"a=/b"}');
  });
});

describe("a query", () => {
  test("gives its parameters decoded", () => {
    const query = new Query("digest=sha256%3Aab&tag=a&tag=b%2Bc&n=10&empty=&bare");
    expect(query.one("digest")).toBe("sha256:ab");
    expect(query.all("tag")).toEqual(["a", "b+c"]);
    expect(query.count("n")).toBe(10);
    expect([query.one("empty"), query.one("bare"), query.one("none")]).toEqual(["", "", undefined]);
    expect([query.all("none"), query.count("none")]).toEqual([[], undefined]);
  });

  test("that is empty has none", () => {
    const query = new Query("");
    expect([query.one("a"), query.all("a"), query.count("a")]).toEqual([undefined, [], undefined]);
  });

  test("reads back what was encoded", () => {
    const text = fc.string({ unit: "grapheme" });
    fc.assert(
      fc.property(text, fc.array(text), (key, values) => {
        const search = values
          .map((value) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
          .join("&");
        expect(new Query(search).all(key)).toEqual(values);
      }),
    );
  });

  test.each([
    ["digest", "DIGEST_INVALID"],
    ["mount", "UNSUPPORTED"],
    ["n", "UNSUPPORTED"],
  ])("with %p twice is refused as %p, equal values or not", (name, code) => {
    for (const search of [
      `${name}=1&${name}=1`,
      `${name}=1&%${name.charCodeAt(0).toString(16)}${name.slice(1)}=2`,
    ]) {
      expect(() => new Query(search).one(name)).toThrow(
        expect.objectContaining({ code, status: 400 }),
      );
    }
    expect(() => new Query("n=1&n=1").count("n")).toThrow(OciError);
  });

  test("counts in whole numbers from 0; beyond what a number holds is as good as all", () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (n) => {
        expect(new Query(`n=${n}`).count("n")).toBe(n);
      }),
    );
    expect(new Query(`n=${"9".repeat(400)}`).count("n")).toBe(Number.MAX_SAFE_INTEGER);
  });

  test.each(["", "-1", "1.5", "1e3", "0x10", " 1", "a", "%EF%BC%91", "NaN", "Infinity"])(
    "with a count of %j is refused",
    (text) =>
      expect(() => new Query(`n=${text}`).count("n")).toThrow(
        expect.objectContaining({ status: 400 }),
      ),
  );

  test("throws nothing but OciError", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (a, b) => {
        const query = new Query(`${a}&n=${b}`);
        for (const ask of [() => query.one("n"), () => query.count("n"), () => query.one(a)]) {
          try {
            ask();
          } catch (error) {
            expect(error).toBeInstanceOf(OciError);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
