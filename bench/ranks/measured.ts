/** What rank 0 measured. */
export interface Measured {
  /** Of a step, the median. */
  seconds: number;
  /** That are trained. */
  parameters: number;
  /** Bytes of gradients that a step sums. */
  bytesGiven: number;
  /** Bytes that each rank sent in a step, as the loopback interface counts them. */
  bytesSent: number;
  /** Sums of so many bytes. */
  sums: { bytes: number; seconds: number }[];
}
