/** A TypeScript source taken apart far enough to tell its code, its texts and its comments from one another. */

export interface Source {
  /** The code without comments; each text is replaced by `"#n"`, its place in `texts`. */
  readonly code: string;
  readonly texts: readonly string[];
  readonly comments: readonly string[];
}

/** A comment, a text, a template up to its first `${` or end, or a regular expression. */
const COMMENT = /\/\/[^\n]*|\/\*[^]*?\*\//y;
const TEXT = /"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/y;
const TEMPLATE = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{)/y;
const REGEXP = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** After these a slash begins a regular expression; after anything else it divides. */
const BEFORE_REGEXP =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|case|typeof|void|of|in|await|yield))\s*$/;

export function takeApart(source: string): Source {
  const texts: string[] = [];
  const comments: string[] = [];
  /** Braces open within each template expression that we are in. */
  const templates: number[] = [];
  let code = "";
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  const template = (): void => {
    const part = match(TEMPLATE);
    if (part === undefined) throw new Error(`a template does not end (at ${at})`);
    code += "``";
    if (part.endsWith("${")) templates.push(0);
  };
  while (at < source.length) {
    const next = source.charAt(at);
    if (next === "/") {
      const comment = match(COMMENT);
      if (comment !== undefined) {
        comments.push(comment);
        continue;
      }
      if (BEFORE_REGEXP.test(code.slice(-40)) && match(REGEXP) !== undefined) {
        code += "/r/";
        continue;
      }
    } else if (next === '"' || next === "'") {
      const text = match(TEXT);
      if (text === undefined) throw new Error(`a text does not end (at ${at})`);
      code += `"#${texts.length}"`;
      texts.push(text.slice(1, -1));
      continue;
    } else if (next === "`") {
      at++;
      template();
      continue;
    } else if (templates.length > 0 && (next === "{" || next === "}")) {
      const open = templates.pop() ?? 0;
      if (next === "}" && open === 0) {
        at++;
        template();
        continue;
      }
      templates.push(open + (next === "{" ? 1 : -1));
    }
    code += next;
    at++;
  }
  return { code, texts, comments };
}
