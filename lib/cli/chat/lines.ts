/** Where messages come from. */
export interface Lines extends Disposable {
  /** Whether a person types them. */
  readonly isTerminal: boolean;
  read(prompt: () => string): AsyncIterable<string>;
  /** Does something that Ctrl-C may stop, by the signal that it is given. */
  during<Result>(work: (stop: AbortSignal) => Promise<Result>): Promise<Result>;
}
