import { Bytes } from '../bytes.js';
import { CALLS, Session } from '../session.js';
import type { Target } from '../target.js';

export const target: Target = {
  seeds: () => [
    ...CALLS.map((_, call) => Buffer.of(0, 0, 11, call >> 8, call & 255)),
    Buffer.of(1, 1, 5, 11, 0, 0, 0, 0, 0, 6, 7, 7, 8),
    Buffer.of(0, 0, 0, 3, 2, 3, 3, 1, 1, 0, 9, 2, 2, 0, 3, 0, 4, 0, 10, 3, 9),
  ],
  async run(data) {
    const bytes = new Bytes(data);
    const session = new Session(bytes);
    for (let step = 0; step < 16 && bytes.left > 0; step++) session.step();
    await session.end();
  },
};
