/** Lets text through until a stop string appears, holding back what may be the beginning of one. */
export class StopStrings {
  private held = '';
  stopped = false;

  constructor(private readonly stops: readonly string[]) {}

  /** The text that is certain not to belong to a stop string. */
  push(text: string): string {
    if (this.stopped) return '';
    this.held += text;
    const found = this.stops.map((stop) => this.held.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.stopped = true;
      return this.take(Math.min(...found));
    }
    return this.take(this.held.length - this.longestBeginning());
  }

  /** What was held back when the text ended. */
  end(): string {
    return this.stopped ? '' : this.take(this.held.length);
  }

  private take(length: number): string {
    const text = this.held.slice(0, length);
    this.held = this.held.slice(length);
    return text;
  }

  /** How much of the end of the held text begins a stop string. */
  private longestBeginning(): number {
    const most = Math.max(0, ...this.stops.map((stop) => stop.length - 1));
    for (let length = Math.min(most, this.held.length); length > 0; length--) {
      const end = this.held.slice(-length);
      if (this.stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
