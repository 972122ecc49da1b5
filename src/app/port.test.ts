import { expect, test } from "bun:test";
import { urlOf } from "./port.ts";

test.each([
  ["", "http://0.0.0.0:5000"],
  ["127.0.0.1", "http://127.0.0.1:5000"],
  ["::1", "http://[::1]:5000"],
])("of the host %p the URL is %p", (host, url) => {
  expect(urlOf("http", { host, port: 5000 })).toBe(url);
  expect(URL.canParse(url)).toBe(true);
});
