/** No object is larger; etcd's own limit is 1.5 MiB. */
const maxLineLength = 16 * 1024 * 1024;

/** Lines of a stream of UTF-8 bytes, without empty ones. Throws `Error` for a line above 16 MiB. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > maxLineLength) throw new Error(`A line is longer than ${maxLineLength} characters`);
    for (const line of lines) if (line !== "") yield line;
  }
}
