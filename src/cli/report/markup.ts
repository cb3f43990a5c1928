/**
 * @module HTML out of templates that escape: a value gets into a page as text, whatever it is, unless
 * it was made by such a template itself.
 */

/** A piece of HTML. Only `markup` makes one. */
export class Html {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }

  static join(parts: TemplateStringsArray, values: readonly Content[]): Html {
    return new Html(String.raw({ raw: parts }, ...values.map(render)));
  }

  /** Text that is HTML by itself: a constant of this program. */
  static constant(text: string): Html {
    return new Html(text);
  }
}

export type Content = string | number | Html | undefined | readonly Content[];

export function markup(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return Html.join(parts, values);
}

/** A name or sentence that somebody else chose: kept from turning the text around it. */
export function foreign(text: string): Html {
  return markup`<bdi>${text}</bdi>`;
}

function render(value: Content): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.toString();
  if (typeof value === "object") return value.map(render).join("");
  return escape(String(value));
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

/** What has no shape of its own, or changes that of its neighbours, is shown by its number. */
function escape(text: string): string {
  return text
    .replaceAll(/[&<>"'`]/g, (letter) => entities[letter] ?? "")
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (letter) => {
      const number = letter.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
      return `⟨U+${number}⟩`;
    });
}
