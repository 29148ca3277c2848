/** Where ranks meet, and who belongs to them. */
export interface Meeting {
  rank: number;
  size: number;
  /** Of rank 0. */
  address: string;
  port: number;
  /** Who does not know it is refused. */
  token: string;
  /** After which others are given up. */
  seconds: number;
}

/** Whether no other machine can use an address. */
export const isLoopback = (address: string): boolean => /^(127\.|::1$)/.test(address);
