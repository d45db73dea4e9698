// The orders that units can be put in, by name. An order is an object; others can be added to the list.

import { EngineError } from "../../engine/core/errors.ts";
import { bisection, seriation } from "./spectral.ts";
import { searchOrder } from "./swaps.ts";
import type { Units } from "./units.ts";

/**
 * How badly blocks fit in an order; smaller is better.
 * @param order for each new place, the unit
 */
export type OrderScore = (order: Int32Array) => Promise<number>;

/** A way of finding an order. */
export interface OrderKind {
  readonly name: string;
  /** one line for `--help` */
  readonly summary: string;
  /** whether it uses the mean squares of the inputs of layers. Default false */
  readonly needsPowers?: boolean;
  /** @returns for each new place, the unit */
  order(units: Units, score: OrderScore): Int32Array | Promise<Int32Array>;
}

/** Bisection does not cut parts of at most this share of the units. The Fiedler vector gives the order within them. */
const LEAST_SHARE = 1 / 64;
/** Bisection does not cut parts of at most so many units either. */
const LEAST_UNITS = 4;

const energy: OrderKind = {
  name: "energy",
  summary: "by what units contribute to outputs, largest first",
  needsPowers: true,
  order: ({ energy: strong }) =>
    Int32Array.from(Array.from(strong.keys()).sort((a, b) => (strong[b] as number) - (strong[a] as number) || a - b)),
};

const fiedler: OrderKind = {
  name: "seriation",
  summary: "spectral seriation: units with similar weights next to each other",
  order: ({ affinity, size }) => seriation({ values: affinity, size }),
};

const clusters: OrderKind = {
  name: "clusters",
  summary: "spectral clustering: halves, quarters, eighths, … of similar units",
  order: ({ affinity, size }) =>
    bisection({ values: affinity, size }, Math.max(LEAST_UNITS, Math.ceil(size * LEAST_SHARE))),
};

const search: OrderKind = {
  name: "search",
  summary: "the one of the other orders in which blocks fit best, improved by swaps; slower",
  needsPowers: true,
  order: async (units, score) => {
    const candidates = await Promise.all([energy, fiedler, clusters].map((kind) => kind.order(units, score)));
    return searchOrder(units, { candidates, score });
  },
};

/** All orders, the fastest first. */
export const ORDERS: readonly OrderKind[] = [energy, fiedler, clusters, search];

/**
 * The order of this name.
 * @throws EngineError such as `there is no order "seriaton"; available: energy, seriation, clusters, search`
 */
export function orderNamed(name: string): OrderKind {
  const found = ORDERS.find((order) => order.name === name);
  if (found) return found;
  const names = ORDERS.map((order) => order.name).join(", ");
  throw new EngineError(`there is no order "${name}"; available: ${names}`, "use one of these");
}
