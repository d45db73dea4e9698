// One-sided Jacobi rotations (Hestenes 1958) over the rows of a matrix, in place and in float64: they make singular
// values exact that a Gram matrix has squared away. Starts best from rows that are nearly orthogonal already.

const MOST_SWEEPS = 30;
/** two rows count as orthogonal when the cosine between them is below this */
const LARGEST_COSINE = 1e-14;

/**
 * Turns pairs of rows of `x` (count, length) until all are orthogonal, and those of `partner` (count, partnerLength)
 * along with them.
 */
export function orthogonaliseRows(
  x: Float64Array,
  partner: Float64Array,
  { count, length, partnerLength }: { count: number; length: number; partnerLength: number },
): void {
  // rows this short are noise of the largest: no direction of theirs means anything
  const floor = (1e-18 * Math.max(...rowNorms(x, count, length))) ** 2;
  let turned = true;
  for (let sweep = 0; turned && sweep < MOST_SWEEPS; sweep++) {
    turned = false;
    for (let p = 0; p < count; p++) {
      const a = row(x, p, length);
      for (let q = p + 1; q < count; q++) {
        const b = row(x, q, length);
        const [aa, ab, bb] = [dot(a, a), dot(a, b), dot(b, b)];
        if (aa <= floor || bb <= floor || Math.abs(ab) <= LARGEST_COSINE * Math.sqrt(aa * bb)) {
          continue;
        }
        turned = true;
        const zeta = (bb - aa) / (2 * ab);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        turn(a, b, tangent);
        turn(row(partner, p, partnerLength), row(partner, q, partnerLength), tangent);
      }
    }
  }
}

/** Gives rows of unit length to singular values of zero: any that are orthogonal to all the others. */
export function completeRows(
  x: Float64Array,
  s: Float64Array,
  { count, length }: { count: number; length: number },
): void {
  const least = 1e-17 * Math.max(...s);
  let axis = 0;
  for (let p = 0; p < count; p++) {
    const a = row(x, p, length);
    if ((s[p] as number) > least) {
      continue;
    }
    s[p] = 0;
    let norm = 0;
    for (; norm < 0.1 / Math.sqrt(length); axis++) {
      a.fill(0);
      a[axis] = 1;
      for (let pass = 0; pass < 2; pass++) {
        for (let q = 0; q < p; q++) {
          subtract(a, row(x, q, length));
        }
      }
      norm = Math.sqrt(dot(a, a));
    }
    for (let j = 0; j < length; j++) {
      a[j] = (a[j] as number) / norm;
    }
  }
}

/** Euclidean length of each row of `x` (count, length). */
export function rowNorms(x: Float64Array, count: number, length: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    const a = row(x, i, length);
    return Math.sqrt(dot(a, a));
  });
}

const row = (x: Float64Array, i: number, length: number): Float64Array => x.subarray(i * length, (i + 1) * length);

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) {
    sum += (a[j] as number) * (b[j] as number);
  }
  return sum;
}

function turn(a: Float64Array, b: Float64Array, tangent: number): void {
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let j = 0; j < a.length; j++) {
    const [x, y] = [a[j] as number, b[j] as number];
    a[j] = cosine * x - sine * y;
    b[j] = sine * x + cosine * y;
  }
}

function subtract(a: Float64Array, direction: Float64Array): void {
  const along = dot(a, direction);
  for (let j = 0; j < a.length; j++) {
    a[j] = (a[j] as number) - along * (direction[j] as number);
  }
}
