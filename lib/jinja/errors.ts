/** A template that is malformed, or fails for the values that it is given. */
export class TemplateError extends Error {}

/** What a template asks for is not there. */
export class UndefinedError extends TemplateError {
  constructor(
    message: string,
    /** The variable's name, where that is what is not there. */
    readonly variable?: string,
  ) {
    super(message);
  }
}
