/** A whole number with separators: 12,345. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Bytes as '812 B', '1.5 KiB', '24.0 GiB'. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** A share as '15 %' or '2.5 %'. */
export function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}
