// Registers the gradients of TensorFlow.js's kernels, and the tensor methods that some of them call.
// @tensorflow/tfjs-core ships both without registering them; the package @tensorflow/tfjs does, but brings layers and
// browser backends along. The gradients of Sum and Mean are replaced by faster ones.

import * as nodeModule from "node:module";
import * as tf from "@tensorflow/tfjs-core";

type ResolveHook = (
  specifier: string,
  context: { parentURL?: string },
  next: (specifier: string, context: unknown) => unknown,
) => unknown;

/** Imports in that package's `dist` have no file extensions: Bun adds them, Deno and Node need this hook. */
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

/** Idempotent; the first call takes a few tenths of a second. */
export function registerGradients(): Promise<void> {
  registered ??= register();
  return registered;
}

async function register(): Promise<void> {
  // The package @tensorflow/tfjs registers them too, for a program that imports it.
  if (!tf.getGradient(tf.BatchMatMul)) await registerShipped();
  registerReductionGradients();
}

async function registerShipped(): Promise<void> {
  resolveExtensions();
  // That module graph is a second copy of the package's code over the same global state. Unless IS_TEST is set, it
  // prints that the platform is being set again.
  const wasTest = tf.env().getBool("IS_TEST");
  tf.env().set("IS_TEST", true);
  try {
    await import("@tensorflow/tfjs-core/dist/register_all_gradients.js");
    await import("@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js");
  } finally {
    tf.env().set("IS_TEST", wasTest);
  }
}

/**
 * Sum and Mean without the tensor of ones that TensorFlow.js multiplies with: that is filled in JavaScript, as large as
 * what was summed, and uploaded at every step of a training loop. The values are the same.
 */
function registerReductionGradients(): void {
  for (const kernelName of [tf.Sum, tf.Mean]) tf.unregisterGradient(kernelName);
  tf.registerGradient(reductionGradient(tf.Sum, () => 1));
  tf.registerGradient(reductionGradient(tf.Mean, (reduced) => reduced));
}

/** dx = dy / divisor, repeated along the reduced axes; `divisor` gets the number of values that each result sums up. */
function reductionGradient(kernelName: string, divisor: (reduced: number) => number): tf.GradConfig {
  return {
    kernelName,
    inputsToSave: ["x"],
    gradFunc: (dy, [x], attributes) => ({
      x: () => {
        const { shape } = x as tf.Tensor;
        const axes = tf.util.parseAxisParam(attributes.axis as number | number[], shape);
        const kept = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
        const reduced = axes.reduce((product, axis) => product * (shape[axis] ?? 1), 1);
        const scaled = divisor(reduced) === 1 ? (dy as tf.Tensor) : tf.div(dy as tf.Tensor, divisor(reduced));
        // broadcastTo refuses empty shapes
        return shape.includes(0) ? tf.zeros(shape) : tf.broadcastTo(tf.reshape(scaled, kept), shape);
      },
    }),
  };
}
