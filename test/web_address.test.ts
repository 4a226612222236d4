// Node has no page; the two values that say where one is are set here.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { InputError } from "../src/errors.ts";
import { resolveAddress } from "../src/web/address.ts";

function at(href: string, baseURI?: string): void {
  Object.assign(globalThis, { location: { href } });
  if (baseURI !== undefined) Object.assign(globalThis, { document: { baseURI } });
}

afterEach(() => {
  for (const name of ["location", "document"]) Reflect.deleteProperty(globalThis, name);
});

test("addresses are relative to the document's base, or to the worker's own address", () => {
  at("https://x.org/app/page.html", "https://cdn.org/files/");
  assert.equal(resolveAddress("a.jpg"), "https://cdn.org/files/a.jpg");
  assert.equal(resolveAddress("/a.jpg"), "https://cdn.org/a.jpg");
  assert.equal(resolveAddress("http://y.org/a.jpg"), "http://y.org/a.jpg");
  Reflect.deleteProperty(globalThis, "document");
  assert.equal(resolveAddress("a.jpg"), "https://x.org/app/a.jpg");
});

test("what is no address, or relative to none, is refused without its secrets", () => {
  at("https://x.org/");
  for (const source of ["http://", "//", "https://a b/?token=secret"]) assertRefused(source);
  at("blob:https://x.org/1234");
  assertRefused("a.jpg?token=secret");
  assert.equal(resolveAddress("https://y.org/a.jpg"), "https://y.org/a.jpg");
  at("data:text/html,", "data:text/html,");
  assertRefused("a.jpg");
});

function assertRefused(source: string): void {
  assert.throws(
    () => resolveAddress(source),
    (error: unknown) => {
      assert.ok(error instanceof InputError);
      assert.match(error.message, /^expected an address, got "/);
      assert.doesNotMatch(error.message, /secret/);
      assert.match(error.hint ?? "", /an absolute one/);
      return true;
    },
  );
}
