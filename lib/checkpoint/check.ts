import type { z } from 'zod';

/** Makes the error to throw from a reason. */
export type Fail = (reason: string) => Error;

/** Parses `value` with a zod schema; throws its first faults on one line through `fail`. */
export function check<Schema extends z.ZodType>(schema: Schema, value: unknown, fail: Fail): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues
    .slice(0, 3)
    .map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '));
  throw fail(faults.join('; ').slice(0, 1000));
}
