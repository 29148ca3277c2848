/**
 * An expression as it came, compiled. V8 compiles when an expression is first used, for wide text and for one that is used often
 * anew, and only then says that it is too large: here that is known before any text is looked at.
 *
 * @throws SyntaxError
 */
export function compiledNow(expression: RegExp): RegExp {
  for (const text of ['', '\u{100}']) for (let use = 0; use < 3; use++) expression.test(text);
  expression.lastIndex = 0;
  return expression;
}
