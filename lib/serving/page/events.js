/** Server-sent events of an answer that is read bit by bit: the text behind `data: `, event by event. */
export async function* readEvents(/** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const events = (rest + next.value).split('\n\n');
    rest = events.pop() ?? '';
    for (const event of events) {
      const lines = event.split('\n').filter((line) => line.startsWith('data: '));
      if (lines.length > 0) yield lines.map((line) => line.slice('data: '.length)).join('\n');
    }
  }
}
