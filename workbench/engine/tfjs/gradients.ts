// Registers the gradients of TensorFlow.js's kernels, and the tensor methods that some of them call, which
// @tensorflow/tfjs-core ships but does not register by itself (the @tensorflow/tfjs package, with its layers and its
// browser backends, is what does). Defines no gradient.

import * as nodeModule from "node:module";
import * as tf from "@tensorflow/tfjs-core";

type ResolveHook = (
  specifier: string,
  context: { parentURL?: string },
  next: (specifier: string, context: unknown) => unknown,
) => unknown;

/** The module graph in that package's `dist` leaves out file extensions: Bun adds them, Deno and Node want help. */
function resolveExtensions(): void {
  const { registerHooks } = nodeModule as { registerHooks?: (hooks: { resolve: ResolveHook }) => unknown };
  registerHooks?.({
    resolve(specifier, context, next) {
      const bare = specifier.startsWith(".") && !/\.\w+$/.test(specifier);
      const inside = context.parentURL?.includes("/tfjs-core/dist/") ?? false;
      return next(bare && inside ? `${specifier}.js` : specifier, context);
    },
  });
}

let registered: Promise<void> | undefined;

/** Idempotent; takes a few tenths of a second the first time. */
export function registerGradients(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  if (tf.getGradient(tf.BatchMatMul)) {
    return;
  }
  resolveExtensions();
  // That graph is a second copy of the package's code over the same global state; unless this is a test, it prints that
  // the platform is being set again.
  const wasTest = tf.env().getBool("IS_TEST");
  tf.env().set("IS_TEST", true);
  try {
    await import("@tensorflow/tfjs-core/dist/register_all_gradients.js");
    await import("@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js");
  } finally {
    tf.env().set("IS_TEST", wasTest);
  }
}
