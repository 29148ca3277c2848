/** Parquet's hybrid of runs: of one value that is repeated, and of values packed in bits. */
import { readVarInt } from 'hyparquet/src/thrift.js';

/** How many bits the numbers from 0 to `most` take. */
export const bitWidth = (most: number): number => 32 - Math.clz32(most);

/**
 * Throws where runs reach beyond `count` values, as a few bytes may say they do by billions. Returns where the runs end.
 *
 * @param bytes how many the runs take; where it is not said, it stands before them in four bytes
 */
export function expectRuns(content: Uint8Array, at: number, width: number, count: number, bytes?: number): number {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const reader = { view, offset: bytes === undefined ? at + 4 : at };
  const end = reader.offset + (bytes ?? view.getUint32(at, true));
  for (let seen = 0; seen < count && reader.offset < content.length; ) {
    const header = readVarInt(reader);
    const isPacked = (header & 1) === 1;
    const values = (header >>> 1) * (isPacked ? 8 : 1);
    // What is packed comes in eights.
    if (values > count - seen + 7) throw new Error(`a run of ${values} values stands where ${count - seen} are left`);
    reader.offset += isPacked ? (header >>> 1) * width : Math.ceil(width / 8);
    seen += values;
  }
  return end;
}
