// Sends COUNT gRPC calls over one connection: `grpc-calls.ts HOST:PORT COUNT`. Prints how many each pod answered and how
// many failed with which status.
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { hello } from "./greeter.ts";

const [address = "", count = "1"] = process.argv.slice(2);
const client = new Client(address, credentials.createInsecure());
const answers: Record<string, number> = {};
const failures: Record<string, number> = {};

function call(): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  client.makeUnaryRequest(
    hello.path,
    hello.requestSerialize,
    hello.responseDeserialize,
    "hi",
    new Metadata(),
    { deadline: Date.now() + 5000 },
    (error, text) => (error ? reject(error) : resolve(text ?? "")),
  );
  return promise;
}

for (let i = 0; i < Number(count); i++) {
  try {
    const pod = await call();
    answers[pod] = (answers[pod] ?? 0) + 1;
  } catch (error) {
    const { code, details } = error as ServiceError;
    const key = `${code} ${details}`;
    failures[key] = (failures[key] ?? 0) + 1;
  }
}
process.stdout.write(`${JSON.stringify({ answers, failures })}\n`);
client.close();
