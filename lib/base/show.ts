/** Text from outside for a message, cut off where it is long. */
export const cut = (text: string, most = 80): string => (text.length > most ? `${text.slice(0, most)}…` : text);

/** A value from outside as JSON for a message, cut off where it is long. */
export function show(value: unknown, most = 80): string {
  let json: string;
  try {
    json = JSON.stringify(value) ?? 'nothing';
  } catch {
    json = 'something that is nested too deeply';
  }
  return cut(json, most);
}
