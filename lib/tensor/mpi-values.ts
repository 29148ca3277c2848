import type { NativeCommunicator } from './addon.js';
import type { HostValues } from './communicator.js';

/** Texts by MPI, which is asked again and again whether they have come: its calls would keep the event loop waiting. */
export class MpiValues implements HostValues {
  constructor(private readonly native: NativeCommunicator) {}

  gather(text: string): Promise<string[]> {
    this.native.startGather(Buffer.from(text));
    return until(() => this.native.gathered());
  }

  dispose(): void {
    this.native.dispose();
  }
}

/** What `poll` returns once that is something: asked often at first, then every few milliseconds. */
export async function until<Result>(poll: () => Result | undefined): Promise<Result> {
  for (let tries = 0; ; tries++) {
    const result = poll();
    if (result !== undefined) return result;
    await new Promise<void>((resolve) => {
      if (tries < 100) setImmediate(resolve);
      else setTimeout(resolve, tries < 200 ? 1 : 5);
    });
  }
}
