/** A value from outside as JSON for a message, cut off where it is long. */
export function show(value: unknown, most = 80): string {
  let json: string;
  try {
    json = JSON.stringify(value) ?? 'nothing';
  } catch {
    json = 'something that is nested too deeply';
  }
  return json.length > most ? `${json.slice(0, most)}…` : json;
}
