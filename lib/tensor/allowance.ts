/** How much may be kept for gradients that could be computed again for them. */
export class Allowance {
  /** Of what was kept at once: the next may be as large. */
  private largest = 0;

  constructor(private bytes: number) {}

  /** Whether more may be kept. */
  get isLeft(): boolean {
    return this.bytes > this.largest;
  }

  spend(bytes: number): void {
    this.largest = Math.max(this.largest, bytes);
    this.bytes -= bytes;
  }
}
