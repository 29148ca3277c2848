import { randomUUID } from 'node:crypto';

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
}

/** What a question is answered with: bit by bit, or as a whole. */
export interface Reply {
  kind: string;
  /** What the number of an answer begins with. */
  id: string;
  chunkKind: string;
  /** What is told of the choices, as it comes. Each has an `index`. */
  choices(): AsyncGenerator<object>;
  /** One choice of all that was told of it. */
  join(parts: readonly object[]): object;
  /** Complete once all choices have come. */
  usage: Usage;
}

const total = (usage: Usage) => ({ ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens });

function headOf(reply: Reply, kind: string, model: string) {
  return { id: `${reply.id}-${randomUUID()}`, object: kind, created: Math.floor(Date.now() / 1000), model };
}

/** The answer as a whole. Throws what computing it throws. */
export async function wholeReply(reply: Reply, model: string, onToken: (part: object) => void): Promise<Response> {
  const parts = new Map<number, object[]>();
  for await (const part of reply.choices()) {
    onToken(part);
    const { index } = part as { index: number };
    const before = parts.get(index);
    if (before) before.push(part);
    else parts.set(index, [part]);
  }
  const inOrder = [...parts.keys()].sort((a, b) => a - b);
  const choices = inOrder.map((index) => reply.join(parts.get(index)!));
  return Response.json({ ...headOf(reply, reply.kind, model), choices, usage: total(reply.usage) });
}

/**
 * The answer bit by bit, as server-sent events. What goes wrong before the first bit is thrown; later it is the last event.
 * A reader who is slow is waited for: the answer is computed meanwhile, and kept. `onEnd` says what an error is, `tell` what of it.
 */
export async function streamedReply(
  reply: Reply,
  model: string,
  {
    tellsUsage,
    onToken,
    onEnd,
    tell,
  }: {
    tellsUsage: boolean;
    onToken: (part: object) => void;
    onEnd: (error?: unknown) => unknown;
    tell: (error: unknown) => object;
  },
): Promise<Response> {
  const head = headOf(reply, reply.chunkKind, model);
  // Whoever asks for the usage is told with every chunk that it is not known yet.
  const usage = tellsUsage ? { usage: null } : {};
  async function* events(): AsyncGenerator<object> {
    for await (const choice of reply.choices()) {
      onToken(choice);
      yield { ...head, choices: [choice], ...usage };
    }
    if (tellsUsage) yield { ...head, choices: [], usage: total(reply.usage) };
  }
  const all = events();
  let next = await all.next();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const send = (data: string) => controller.enqueue(encoder.encode(`data: ${data}\n\n`));
        try {
          if (next.done) send('[DONE]');
          else send(JSON.stringify(next.value));
          if (next.done) {
            controller.close();
            onEnd();
          } else next = await all.next();
        } catch (error) {
          send(JSON.stringify(tell(onEnd(error))));
          controller.close();
        }
      },
      cancel: () => {
        onEnd();
      },
    },
    { highWaterMark: 0 },
  );
  const headers = { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-store' };
  return new Response(body, { headers });
}
