// Reads as much of Markdown as the checks need: rows of tables, headings, links.

/** A name in the first cell of a table's row. */
export interface Row {
  readonly name: string;
  /** From 1. */
  readonly line: number;
  /** Text of the nearest heading above, without marks. */
  readonly heading: string;
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

interface Line {
  readonly text: string;
  readonly number: number;
  readonly heading: string;
}

/** Every name in backticks of the first cell of the rows of tables whose first column has this title. */
export function readRows(markdown: string, title: string): Row[] {
  const rows: Row[] = [];
  let inTable = false;
  for (const { text, number, heading } of proseLines(markdown)) {
    if (!text.startsWith("|")) {
      inTable = false;
      continue;
    }
    const cell = firstCell(text);
    if (cell === title) inTable = true;
    else if (inTable)
      for (const [, name = ""] of cell.matchAll(/`([^`]+)`/g)) rows.push({ name, line: number, heading });
  }
  return rows;
}

/** Relative links and the anchors they name. */
export function readLinks(markdown: string): Link[] {
  return proseLines(markdown).flatMap(({ text, number }) =>
    [...text.replaceAll(/`[^`]*`/g, "").matchAll(/\]\(([^()\s]+)\)/g)]
      .map(([, target = ""]) => ({ target, line: number }))
      .filter(({ target }) => !/^[a-z][a-z0-9+.-]*:/i.test(target)),
  );
}

/** Anchors as they are made from headings on the usual hosts: lower case, blanks to dashes, punctuation dropped. */
export function readAnchors(markdown: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const { text } of proseLines(markdown)) {
    const heading = headingOf(text);
    if (heading === undefined) continue;
    const slug = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(/\s/g, "-");
    let anchor = slug;
    for (let copy = 1; anchors.has(anchor); copy++) anchor = `${slug}-${copy}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Lines outside fenced code, each with the heading it stands under. */
function proseLines(markdown: string): Line[] {
  let fenced = false;
  let heading = "";
  return markdown.split("\n").flatMap((text, index) => {
    if (text.startsWith("```")) fenced = !fenced;
    else if (!fenced) {
      heading = headingOf(text) ?? heading;
      return [{ text, number: index + 1, heading }];
    }
    return [];
  });
}

function headingOf(text: string): string | undefined {
  return /^#{1,6} (.*)$/.exec(text)?.[1]?.replaceAll("`", "").trim();
}

/** A pipe that belongs to the text is written `\|`. */
function firstCell(row: string): string {
  return (/^\|((?:\\.|[^|\\])*)\|/.exec(row)?.[1] ?? "").trim();
}
