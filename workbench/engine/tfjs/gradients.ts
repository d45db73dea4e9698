// Registers the gradients of TensorFlow.js's kernels, and the tensor methods that some of them call.
// @tensorflow/tfjs-core ships both without registering them; the package @tensorflow/tfjs does, but also imports layers
// and browser backends. The gradients of Sum and Mean are replaced by faster ones.

import * as nodeModule from "node:module";
import process from "node:process";
import * as tf from "@tensorflow/tfjs-core";

type ResolveHook = (
  specifier: string,
  context: { parentURL?: string },
  next: (specifier: string, context: unknown) => unknown,
) => unknown;

/** Adds the extension to imports in the `dist` of @tensorflow/tfjs-core. Uses nothing from outside itself. */
const resolve: ResolveHook = (specifier, context, next) => {
  const bare = specifier.startsWith(".") && !/\.\w+$/.test(specifier);
  const inside = context.parentURL?.includes("/tfjs-core/dist/") ?? false;
  return next(bare && inside ? `${specifier}.js` : specifier, context);
};

/**
 * Makes Deno and Node resolve imports in the `dist` of @tensorflow/tfjs-core, which have no file extensions. Bun
 * resolves them by itself. Node 20 has only hooks that are modules of their own.
 */
function resolveExtensions(): void {
  const { registerHooks, register } = nodeModule as {
    registerHooks?: (hooks: { resolve: ResolveHook }) => unknown;
    register?: (module: string) => unknown;
  };
  if (registerHooks) registerHooks({ resolve });
  else if (process.versions.bun === undefined)
    register?.(`data:text/javascript,${encodeURIComponent(`export const resolve = ${resolve}`)}`);
}

let registered: Promise<void> | undefined;

/** Registers all gradients. The first call takes a few tenths of a second; later calls do nothing. */
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
  // These modules are a second copy of the package's code that shares its global state. Unless IS_TEST is set, they
  // print that the platform is being set again.
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
 * Registers gradients of Sum and Mean that do not multiply by a tensor of ones. TensorFlow.js fills such a tensor in
 * JavaScript, as large as the operand, and uploads it at every step of a training loop. The values are the same.
 */
function registerReductionGradients(): void {
  for (const kernelName of [tf.Sum, tf.Mean]) tf.unregisterGradient(kernelName);
  tf.registerGradient(reductionGradient(tf.Sum, () => 1));
  tf.registerGradient(reductionGradient(tf.Mean, (reduced) => reduced));
}

/** dx = dy / divisor, repeated along the reduced axes; `divisor` is called with the number of values in each sum. */
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
        // broadcastTo does not accept empty shapes.
        return shape.includes(0) ? tf.zeros(shape) : tf.broadcastTo(tf.reshape(scaled, kept), shape);
      },
    }),
  };
}
