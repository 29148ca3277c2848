/** Caches in pages (native/ops/pages.h), as references and cases see them. */
import { build, Values } from '../support/reference.js';

/** Pages [M][B][P]. */
export type Table = readonly (readonly (readonly number[])[])[];

const TOKENS = 64;

/** A cache [M, B, S, K, D] in the pages of a pool, whose other slots hold NaN. */
export function inPages(cache: Values, table: Table | undefined): Values {
  if (!table) return cache;
  const [, , , K, D] = cache.shape as [number, number, number, number, number];
  const pages = 1 + Math.max(...table.flat(2));
  const row = K * D;
  const data = new Float64Array((pages + 1) * TOKENS * row).fill(Number.NaN);
  let from = 0;
  for (const page of table.flat(2)) {
    if (page >= 0) data.set(cache.data.subarray(from, from + TOKENS * row), page * TOKENS * row);
    from += TOKENS * row;
  }
  return new Values([pages + 1, TOKENS, K, D], data);
}

/** The cache [M, B, S, K, D] that pages hold; what lies on none is NaN. */
export function unpaged(pool: Values, pages: Values | undefined): Values {
  if (!pages) return pool;
  const [M, B, P] = pages.shape as [number, number, number];
  const [, , K, D] = pool.shape as [number, number, number, number];
  const shape = [M, B, P * TOKENS, K, D];
  return new Values(
    shape,
    build(shape, (m, b, s, k, d) => {
      const page = pages.at(m!, b!, Math.floor(s! / TOKENS));
      return page < 0 ? Number.NaN : pool.at(page, s! % TOKENS, k!, d!);
    }) as Float64Array,
  );
}
