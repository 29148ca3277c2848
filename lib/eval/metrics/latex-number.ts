/** Differences of rounding, relative to the larger of two numbers. */
const TOLERANCE = 1e-9;

/** Whether two LaTeX expressions are numbers, and the same: `\frac{1}{2}` and `0.5`, `2\sqrt{3}` and `\sqrt{12}`. */
export function sameNumber(a: string, b: string): boolean {
  const [x, y] = [latexNumber(a), latexNumber(b)];
  if (x === null || y === null) return false;
  return Math.abs(x - y) <= TOLERANCE * Math.max(1, Math.abs(x), Math.abs(y));
}

/**
 * The value of a LaTeX expression of numbers, `\pi`, `+ - * / ^`, `\cdot`, `\times`, `\frac`, `\sqrt` and brackets; null
 * for anything else, such as one with a variable. Arguments of commands have braces, as normalized answers do.
 */
export function latexNumber(latex: string): number | null {
  const tokens = latex
    .replaceAll('\\left', '')
    .replaceAll('\\right', '')
    .replaceAll(/\\[dt]frac/g, '\\frac')
    .match(/\\[a-zA-Z]+|\d+(\.\d+)?|\.\d+|[^\s]/g);
  if (!tokens) return null;
  try {
    const parser = new Parser(tokens);
    const value = parser.sum();
    return parser.isDone && Number.isFinite(value) ? value : null;
  } catch (error) {
    if (error instanceof NotANumber) return null;
    throw error;
  }
}

class NotANumber extends Error {}

/** Recursive descent: a sum of products of powers. */
class Parser {
  private at = 0;

  constructor(private readonly tokens: readonly string[]) {}

  get isDone(): boolean {
    return this.at === this.tokens.length;
  }

  sum(): number {
    let value = this.product();
    for (;;) {
      if (this.take('+')) value += this.product();
      else if (this.take('-')) value -= this.product();
      else return value;
    }
  }

  private product(): number {
    let value = this.signed();
    for (;;) {
      if (this.take('*') || this.take('\\cdot') || this.take('\\times')) value *= this.signed();
      else if (this.take('/') || this.take('\\div')) value /= this.signed();
      else if (/^(\\frac|\\sqrt|\\pi|\(|\{|[\d.])/.test(this.next ?? '')) value *= this.power();
      else return value;
    }
  }

  private signed(): number {
    if (this.take('-')) return -this.signed();
    if (this.take('+')) return this.signed();
    return this.power();
  }

  private power(): number {
    const base = this.factor();
    return this.take('^') ? base ** this.argument() : base;
  }

  private factor(): number {
    const token = this.tokens[this.at++];
    if (token === '(') return this.closed(')');
    if (token === '{') return this.closed('}');
    if (token === '\\pi') return Math.PI;
    if (token === '\\frac') {
      const numerator = this.argument();
      return numerator / this.argument();
    }
    if (token === '\\sqrt') {
      const degree = this.take('[') ? this.closed(']') : 2;
      return this.argument() ** (1 / degree);
    }
    if (token !== undefined && /^[\d.]/.test(token)) return Number(token);
    throw new NotANumber();
  }

  /** What a command or `^` applies to: a group, or the next digit. */
  private argument(): number {
    if (this.take('{')) return this.closed('}');
    if (this.take('-')) return -this.argument();
    return this.factor();
  }

  private closed(bracket: string): number {
    const value = this.sum();
    if (!this.take(bracket)) throw new NotANumber();
    return value;
  }

  private get next(): string | undefined {
    return this.tokens[this.at];
  }

  private take(token: string): boolean {
    if (this.next !== token) return false;
    this.at++;
    return true;
  }
}
