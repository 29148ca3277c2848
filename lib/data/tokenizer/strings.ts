/** `text` with U+FFFD for each half of a surrogate pair, which UTF-8 cannot hold. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** A copy to keep: a string that was cut out of a text keeps all of that text in memory. */
export function detach(piece: string): string {
  return Buffer.from(piece, 'utf8').toString('utf8');
}
