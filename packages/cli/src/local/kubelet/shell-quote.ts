/** A word that a POSIX shell reads as exactly this text. */
export function shellQuote(text: string): string {
  return /^[A-Za-z0-9_/.:=,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

export function shellCommand(argv: readonly string[]): string {
  return argv.map((word) => shellQuote(word)).join(" ");
}
