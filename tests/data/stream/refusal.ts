// What tests of streams say of refusals.

import { expect } from "bun:test";

/** The message, of one line, of the DataError with which this is refused. */
export async function refusalOf(make: () => Promise<unknown>): Promise<string> {
  const error = await make().then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error?.name).toBe("DataError");
  expect(error?.message).not.toContain("\n");
  return error?.message ?? "";
}
