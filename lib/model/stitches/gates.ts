/** How much of a token a gate weighs. A new one is an entry here and its name in bts.json (lib/checkpoint/stitch-manifest.ts). */
import type { StitchManifest } from '../../checkpoint/stitch-manifest.js';

export interface Gate {
  /** G: how many numbers weigh the C channels of a member's token. */
  width(channels: number): number;
}

export const GATES: Record<StitchManifest['gate'], Gate> = {
  channel: { width: (channels) => channels },
  scalar: { width: () => 1 },
};
