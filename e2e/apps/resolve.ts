// What DNS says in a pod: `resolve.ts NAME…` prints, per name, the answers of A and AAAA queries for exactly that name and
// what the system's resolver makes of it with its search domains.
import { lookup, Resolver } from "node:dns/promises";

const resolver = new Resolver({ timeout: 2000, tries: 1 });

async function outcome<T>(answer: Promise<T>): Promise<T | string> {
  try {
    return await answer;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

for (const name of process.argv.slice(2)) {
  const a = await outcome(resolver.resolve4(name));
  const aaaa = await outcome(resolver.resolve6(name));
  const system = await outcome(
    lookup(name, { all: true, family: 4 }).then((found) => found.map(({ address }) => address)),
  );
  process.stdout.write(`${JSON.stringify({ name, a, aaaa, system })}\n`);
}
