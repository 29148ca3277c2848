/**
 * Makes code count where it goes, for libFuzzer: `edges[n]++` wherever it may go one way or another, and `same(a, b)` in the
 * place of a comparison with something that stands in the code, so that the fuzzer learns what was wanted.
 */
import ts from 'typescript';

const EDGES = '__edges';
const SAME = '__same';
/** What must stand before instrumented code. */
export const PRELUDE = `const { edges: ${EDGES}, same: ${SAME} } = globalThis.fuzzing;`;

/** Of several files; each edge has a number of its own. */
export class Instrumenter {
  /** How many edges there are so far. */
  edges = 0;

  /** A file of TypeScript or JavaScript as an instrumented module, with its source map. */
  instrument(source: string, fileName: string): string {
    const compilerOptions = {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      inlineSourceMap: true,
      inlineSources: true,
      allowJs: true,
    };
    const transform = { before: [(context: ts.TransformationContext) => this.transformer(context)] };
    return ts.transpileModule(source, { fileName, compilerOptions, transformers: transform }).outputText;
  }

  private transformer(context: ts.TransformationContext): ts.Transformer<ts.SourceFile> {
    const { factory } = context;
    const count = () =>
      factory.createPostfixIncrement(
        factory.createElementAccessExpression(factory.createIdentifier(EDGES), this.edges++),
      );
    const counted = (expression: ts.Expression) =>
      factory.createParenthesizedExpression(factory.createComma(count(), expression));
    const statement = (body: ts.Statement) =>
      factory.createBlock([factory.createExpressionStatement(count()), body], true);
    const block = (body: ts.Block) =>
      factory.updateBlock(body, [...directives(body), factory.createExpressionStatement(count()), ...rest(body)]);
    const clause = (statements: ts.NodeArray<ts.Statement>) => [
      factory.createExpressionStatement(count()),
      ...statements,
    ];

    const instrumented = (node: ts.Node): ts.Node => {
      if (ts.isIfStatement(node)) {
        const otherwise = node.elseStatement ?? factory.createEmptyStatement();
        return factory.updateIfStatement(node, node.expression, statement(node.thenStatement), statement(otherwise));
      }
      if (ts.isForStatement(node))
        return factory.updateForStatement(
          node,
          node.initializer,
          node.condition,
          node.incrementor,
          statement(node.statement),
        );
      if (ts.isForOfStatement(node))
        return factory.updateForOfStatement(
          node,
          node.awaitModifier,
          node.initializer,
          node.expression,
          statement(node.statement),
        );
      if (ts.isWhileStatement(node))
        return factory.updateWhileStatement(node, node.expression, statement(node.statement));
      if (ts.isCaseClause(node)) return factory.updateCaseClause(node, node.expression, clause(node.statements));
      if (ts.isDefaultClause(node)) return factory.updateDefaultClause(node, clause(node.statements));
      if (ts.isCatchClause(node)) return factory.updateCatchClause(node, node.variableDeclaration, block(node.block));
      if (ts.isConditionalExpression(node)) {
        const { condition, questionToken, whenTrue, colonToken, whenFalse } = node;
        return factory.updateConditionalExpression(
          node,
          condition,
          questionToken,
          counted(whenTrue),
          colonToken,
          counted(whenFalse),
        );
      }
      if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) {
        const { modifiers, typeParameters, parameters, type, equalsGreaterThanToken, body } = node;
        return factory.updateArrowFunction(
          node,
          modifiers,
          typeParameters,
          parameters,
          type,
          equalsGreaterThanToken,
          counted(body),
        );
      }
      if (ts.isBlock(node) && ts.isFunctionLike(node.parent)) return block(node);
      return ts.isBinaryExpression(node) ? this.binary(node, factory, counted) : node;
    };
    const visit = (node: ts.Node): ts.Node => instrumented(ts.visitEachChild(node, visit, context));
    return (file) => ts.visitEachChild(file, visit, context);
  }

  private binary(node: ts.BinaryExpression, factory: ts.NodeFactory, counted: (e: ts.Expression) => ts.Expression) {
    const { left, operatorToken, right } = node;
    switch (operatorToken.kind) {
      case ts.SyntaxKind.AmpersandAmpersandToken:
      case ts.SyntaxKind.BarBarToken:
      case ts.SyntaxKind.QuestionQuestionToken:
        return factory.updateBinaryExpression(node, left, operatorToken, counted(right));
      case ts.SyntaxKind.EqualsEqualsEqualsToken:
      case ts.SyntaxKind.ExclamationEqualsEqualsToken: {
        if (!ts.isStringLiteral(left) && !ts.isStringLiteral(right)) return node;
        const same = factory.createCallExpression(factory.createIdentifier(SAME), undefined, [left, right]);
        return operatorToken.kind === ts.SyntaxKind.EqualsEqualsEqualsToken ? same : factory.createLogicalNot(same);
      }
      default:
        return node;
    }
  }
}

const isDirective = (statement: ts.Statement) =>
  ts.isExpressionStatement(statement) && ts.isStringLiteral(statement.expression);
const directives = ({ statements }: ts.Block) => statements.filter(isDirective);
const rest = ({ statements }: ts.Block) => statements.filter((statement) => !isDirective(statement));
